"""The signed client: one command, however many tries; typed errors; every byte counted."""

import socket
import threading
from collections.abc import Callable
from email.utils import formatdate

import httpx2
import pytest

from stillhouse.entities import Role
from stillhouse.errors import Forbidden, NotFound, StillhouseError, Unauthenticated, Unavailable
from stillhouse.wire.client import TRIES, SignedClient
from stillhouse.wire.endpoints import Endpoints
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import Confirmation
from stillhouse.wire.problems import PROBLEMS, problem_of
from stillhouse.wire.signatures import parse, verify

URL, SECOND = "http://127.0.0.1:1", "http://127.0.0.1:2"
IDENTITY = Identity.derive(b"device")
KEY_ID = f"{IDENTITY.id(Role.CLIENT)}/1"
BODY = Confirmation(challenge="0" * 64)
NOW = 1_000_000
Reply = httpx2.Response | Exception
DONE = httpx2.Response(204)


def problem(error: StillhouseError, **headers: str) -> httpx2.Response:
    document = problem_of(error)
    content = document.model_dump_json(exclude_none=True).encode()
    return httpx2.Response(document.status, content=content, headers=headers)


class Server:
    """Gives `replies` in order, the last again and again; checks every signature by `clock`."""

    def __init__(self, *replies: Reply, clock: Callable[[], float] = lambda: NOW) -> None:
        self._replies, self._clock = list(replies), clock
        self.requests: list[httpx2.Request] = []

    @property
    def nonces(self) -> list[str]:
        return [parse(request.headers).nonce for request in self.requests]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        try:
            self.verify(request)
        except Unauthenticated as error:
            return problem(error, date=formatdate(self._clock()))
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, Exception):
            raise reply
        body = httpx2.ByteStream(reply.content)
        return httpx2.Response(reply.status_code, headers=reply.headers, stream=body)

    def verify(self, request: httpx2.Request) -> None:
        verify(
            parse(request.headers),
            method=request.method,
            authority=request.headers["host"],
            path=request.url.path,
            query=request.url.query.decode(),
            headers=request.headers,
            public_key=IDENTITY.public.sign,
            now=self._clock(),
            authorities=(request.url.netloc.decode(),),
        )


def client(
    server: Server,
    *endpoints: str,
    clock: Callable[[], float] = lambda: NOW,
    pause: Callable[[float], None] = lambda _: None,
) -> SignedClient:
    made = SignedClient(
        endpoints or (URL,),
        IDENTITY,
        transport=httpx2.MockTransport(server),
        clock=clock,
        pause=pause,
    )
    made.key_id = KEY_ID
    return made


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadError("lost"),
        httpx2.ReadTimeout("silent"),
        problem(Unavailable()),
        httpx2.Response(502, content=b"<html>"),
    ],
)
def test_a_command_is_repeated_with_the_same_nonce_until_it_is_answered(fault: Reply) -> None:
    server = Server(fault, fault, DONE)
    assert client(server).command("POST", "/x", BODY).status_code == 204
    assert len(server.requests) == 3
    assert len(set(server.nonces)) == 1
    assert {request.content for request in server.requests} == {BODY.model_dump_json().encode()}


def test_a_repeat_is_signed_anew() -> None:
    times = iter((NOW, NOW + 3600))
    server = Server(httpx2.ReadError("lost"), DONE, clock=lambda: NOW)
    server.verify = lambda request: None  # type: ignore[method-assign]
    client(server, clock=lambda: next(times)).command("POST", "/x", BODY)
    created = [parse(request.headers).created for request in server.requests]
    assert created == [NOW, NOW + 3600]
    assert len(set(server.nonces)) == 1


def test_every_command_has_a_nonce_of_its_own() -> None:
    server = Server(DONE)
    http = client(server)
    for _ in range(3):
        http.command("POST", "/x", BODY)
    assert len(set(server.nonces)) == 3


def test_pauses_between_tries_grow_and_are_bounded() -> None:
    pauses: list[float] = []
    with pytest.raises(Unavailable):
        client(Server(problem(Unavailable())), pause=pauses.append).command("POST", "/x", BODY)
    assert len(pauses) == TRIES
    assert pauses == sorted(pauses)
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(pauses) == 2.0


def test_an_answer_that_never_comes_is_given_up_as_unavailable() -> None:
    with pytest.raises(Unavailable, match="no answer"):
        client(Server(httpx2.ConnectError("refused"))).command("POST", "/x", BODY)


def test_the_next_endpoint_takes_over_and_stays() -> None:
    server = Server(httpx2.ConnectError("refused"), DONE)
    http = client(server, URL, SECOND)
    for _ in range(2):
        http.command("POST", "/x", BODY)
    asked = [(request.url.port, request.url.path) for request in server.requests]
    assert asked == [(1, "/x"), (2, "/x"), (2, "/endpoints"), (2, "/x")]


def test_the_one_that_took_over_tells_where_the_others_are_now() -> None:
    names = (URL, "http://127.0.0.1:3", "https://example.org", SECOND)
    found = httpx2.Response(200, content=Endpoints(endpoints=names).model_dump_json())
    http = client(Server(httpx2.ConnectError("refused"), DONE, found), URL, SECOND)
    http.command("POST", "/x", BODY)
    assert http.endpoints == ["http://127.0.0.1:3", SECOND, URL]


def test_another_endpoint_is_tried_at_once_and_a_pause_comes_when_all_are_lost() -> None:
    pauses: list[float] = []
    faults = [httpx2.ConnectError("refused")] * 3
    client(Server(*faults, DONE), URL, SECOND, pause=pauses.append).command("POST", "/x", BODY)
    assert len(pauses) == 2


def test_an_only_endpoint_is_not_asked_for_others() -> None:
    server = Server(httpx2.ConnectError("refused"), DONE)
    client(server).command("POST", "/x", BODY)
    assert [request.url.path for request in server.requests] == ["/x", "/x"]


@pytest.mark.parametrize("error", [kind for kind in PROBLEMS if PROBLEMS[kind][0] < 500])
def test_a_problem_document_becomes_its_error_at_once(error: type[StillhouseError]) -> None:
    server = Server(problem(error("why")))
    with pytest.raises(error, match="why") as found:
        client(server).command("POST", "/x", BODY)
    assert type(found.value) is error
    assert len(server.requests) == 1


def test_an_error_that_is_no_problem_document_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="status 404"):
        client(Server(httpx2.Response(404, content=b"<html>not ours"))).command("GET", "/x")


@pytest.mark.parametrize("off_s", [-86_400, 86_400, 300])
def test_a_wrong_clock_costs_one_try_and_is_then_set(off_s: int) -> None:
    server = Server(DONE)
    http = client(server, clock=lambda: NOW + off_s)
    for _ in range(2):
        http.command("POST", "/x", BODY)
    assert len(server.requests) == 3
    assert server.nonces[0] == server.nonces[1]


def test_a_refusal_that_is_not_about_the_clock_is_final() -> None:
    server = Server(problem(Unauthenticated("no key"), date=formatdate(NOW)))
    with pytest.raises(Unauthenticated, match="no key"):
        client(server).command("POST", "/x", BODY)
    assert len(server.requests) == 1


def test_a_server_whose_clock_jumps_does_not_keep_us_busy() -> None:
    jumps = [problem(Unauthenticated(), date=formatdate(NOW + 1000 * i)) for i in range(100)]
    server = Server(*jumps)
    server.verify = lambda request: None  # type: ignore[method-assign]
    with pytest.raises(Unauthenticated):
        client(server).command("POST", "/x", BODY)
    assert len(server.requests) <= TRIES


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_refusal_without_a_readable_time_is_final(date: str) -> None:
    server = Server(problem(Unauthenticated("no key"), date=date))
    with pytest.raises(Unauthenticated, match="no key"):
        client(server).command("POST", "/x", BODY)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.org",
        "http://10.0.0.1:8700",
        "http://127.0.0.1.example.org",
        "http://localhost@example.org",
        "http://example.org/127.0.0.1",
        "ftp://example.org",
        "example.org",
    ],
)
def test_plain_http_leaves_this_machine_never(endpoint: str) -> None:
    with pytest.raises(Forbidden, match="https"):
        SignedClient([endpoint], IDENTITY)
    http = client(Server(DONE))
    with pytest.raises(Forbidden), http.stream(endpoint, "/x", ""):
        pass


@pytest.mark.parametrize(
    "endpoint", ["https://example.org", "http://localhost:8700", "http://[::1]:8700"]
)
def test_https_and_loopback_are_spoken_to(endpoint: str) -> None:
    SignedClient([endpoint], IDENTITY).close()


def test_a_stream_yields_bytes_as_they_come_and_raises_what_the_server_says() -> None:
    server = Server(httpx2.Response(200, content=b"sealed"), problem(NotFound("none")))
    http = client(server)
    with http.stream(URL, "/chunks/0", "from_record=3") as parts:
        assert b"".join(parts) == b"sealed"
    assert server.requests[0].url.query == b"from_record=3"
    with pytest.raises(NotFound, match="none"), http.stream(URL, "/chunks/9", ""):
        pass


class Socket:
    """A server that counts what really passes: one answer a connection, then it closes."""

    def __init__(self, *answers: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.bytes = 0
        self.thread = threading.Thread(target=self._serve, args=(answers,))
        self.thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        with self._socket:
            for answer in answers:
                connection, _ = self._socket.accept()
                with connection:
                    self.bytes += len(request_from(connection)) + len(answer)
                    connection.sendall(answer)


def request_from(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        part = connection.recv(missing)
        data, missing = data + part, missing - len(part)
    return data


def http_answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def test_wire_bytes_are_those_that_pass_the_socket() -> None:
    late = problem(Unavailable("late")).content
    refusal = problem(NotFound("none")).content
    server = Socket(
        http_answer("503 Service Unavailable", late),
        http_answer("200 OK", b"{}"),
        http_answer("200 OK", b"s" * 100_000),
        http_answer("404 Not Found", refusal),
    )
    http = SignedClient([server.url], IDENTITY, pause=lambda _: None)
    http.key_id = KEY_ID
    http.command("POST", "/x?a=b", BODY)
    with http.stream(server.url, "/chunks/0", "from_record=3") as parts:
        assert sum(map(len, parts)) == 100_000
    with pytest.raises(NotFound):
        http.send("GET", "/none", None, {})
    server.thread.join()
    http.close()
    assert http.wire_bytes == server.bytes
