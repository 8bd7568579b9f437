"""The gate before every listener: whom it lets in, in which order it looks, what it answers."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from actors.gate import BODY_BYTES, HEADER_BYTES, UPLOAD_BYTES, Gate, problem_for
from stillhouse.entities import Principal, Role
from stillhouse.errors import Conflict, NotFound, Unavailable
from stillhouse.wire.identity import Identity
from stillhouse.wire.signatures import sign

AUTHORITY = "127.0.0.1:8700"
CREATED = 1_800_000_000
NONCE = "nonce-nonce-nonce-nonce"
IDENTITY = Identity.derive(b"device")
WHO = Principal(id=IDENTITY.id(Role.CLIENT), role=Role.CLIENT)
UPLOAD = "/central_models/wrist/versions/1/files/weights"
Headers = Sequence[tuple[str, str]]


async def find(key_id: str) -> tuple[Principal, str] | None:
    return (WHO, IDENTITY.public.sign) if key_id == f"{WHO.id}/1" else None


class Behind:
    """The application behind the gate: remembers what reached it."""

    def __init__(self, error: Exception | None = None, begins: bool = False) -> None:
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []
        self._error, self._begins = error, begins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.bodies.append((await receive())["body"])
        if self._begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if self._error is not None:
            raise self._error
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Wire:
    """What a server hands an application, and what it gets back."""

    def __init__(self, parts: Sequence[bytes], pause_s: float = 0.0) -> None:
        self.read = 0
        self.sent: list[Any] = []
        self._parts, self._pause_s = list(parts), pause_s

    async def receive(self) -> Any:
        self.read += 1
        await asyncio.sleep(self._pause_s)
        if not self._parts:
            return {"type": "http.disconnect"}
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def answer(self) -> tuple[int, dict[str, Any]]:
        start, body = self.sent
        assert dict(start["headers"])[b"content-type"] == b"application/problem+json"
        return start["status"], json.loads(body["body"])

    @property
    def code(self) -> str:
        status, problem = self.answer
        assert problem["status"] == status
        return str(problem["code"])


def signed(method: str, path: str, body: bytes | None, **headers: str) -> dict[str, str]:
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        wanted = {"content-type": "application/json", **wanted}
    added = sign(
        IDENTITY, f"{WHO.id}/1", method=method, authority=AUTHORITY, path=path, query="",
        headers=wanted, body=body, nonce=NONCE, created=CREATED,
    )  # fmt: skip
    return {"host": AUTHORITY, **wanted, **added}


def ask(
    behind: Any, wire: Wire, path: str, headers: Mapping[str, str] | Headers, method: str = "POST"
) -> Wire:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
    }
    asyncio.run(
        Gate(behind, find, (AUTHORITY,), clock=lambda: CREATED)(scope, wire.receive, wire.send)
    )
    return wire


def test_what_is_signed_passes_on_with_who_asks_and_what() -> None:
    behind, body = Behind(), b'{"a": 1}'
    wire = ask(behind, Wire([body[:3], body[3:]]), "/jobs", signed("POST", "/jobs", body))
    [scope] = behind.scopes
    who = scope["state"]["signed"]
    assert behind.bodies == [body]
    assert (who.principal, who.nonce) == (WHO, NONCE)
    parts = (b"POST", b"/jobs", b"", body)
    lengths = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert who.digest == hashlib.sha256(lengths).hexdigest()
    assert wire.sent[0]["status"] == 204


@pytest.mark.parametrize("path", ["/jobs", UPLOAD, "/nothing/here", "/healthz/", "/enrolments/a/b"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_who_is_not_signed_is_refused_before_a_body_byte_is_read(method: str, path: str) -> None:
    wire = ask(Behind(), Wire([b"x" * 100]), path, {"host": AUTHORITY}, method)
    assert (wire.code, wire.read) == ("unauthenticated", 0)


@pytest.mark.parametrize(
    "change",
    [
        {"host": "elsewhere:8700"},
        {"content-type": "text/plain"},
        {"content-digest": "sha-256=:AAAA:"},
        {"if-match": '"1"'},
        {"idempotency-key": NONCE},
        {"signature": "stillhouse=:" + "A" * 86 + "==:"},
        {"signature-input": "stillhouse=()"},
        {"signature": ""},
    ],
)
def test_a_changed_header_is_refused_before_a_body_byte_is_read(change: dict[str, str]) -> None:
    headers = {**signed("POST", "/jobs", b"{}"), **change}
    wire = ask(Behind(), Wire([b"{}"]), "/jobs", headers)
    assert (wire.code, wire.read) == ("unauthenticated", 0)


def test_an_idempotency_key_that_is_signed_must_be_the_nonce() -> None:
    headers = signed("POST", "/jobs", b"{}", idempotency_key="another-key")
    wire = ask(Behind(), Wire([b"{}"]), "/jobs", headers)
    assert (wire.code, wire.read) == ("invalid", 0)


def test_a_key_that_is_not_in_force_is_refused() -> None:
    headers = signed("GET", "/jobs", None)
    headers["signature-input"] = headers["signature-input"].replace("/1", "/2")
    assert ask(Behind(), Wire([b""]), "/jobs", headers, "GET").code == "unauthenticated"


@pytest.mark.parametrize("name", ["signature", "signature-input", "content-digest", "host"])
def test_a_header_that_comes_twice_is_refused(name: str) -> None:
    headers = list(signed("POST", "/jobs", b"{}").items())
    twice = [*headers, (name.title(), dict(headers)[name])]
    assert ask(Behind(), Wire([b"{}"]), "/jobs", twice).code == "unauthenticated"


def test_a_body_that_was_not_signed_never_reaches_the_application() -> None:
    behind = Behind()
    wire = ask(behind, Wire([b'{"a": 2}']), "/jobs", signed("POST", "/jobs", b'{"a": 1}'))
    unsigned = ask(behind, Wire([b"{}"]), "/jobs", signed("POST", "/jobs", None))
    assert (wire.code, unsigned.code, behind.bodies) == ("unauthenticated", "unauthenticated", [])


def test_headers_over_their_cap_are_431_on_open_routes_too() -> None:
    wire = ask(Behind(), Wire([b""]), "/healthz", {"x": "a" * HEADER_BYTES}, "GET")
    assert (wire.answer[0], wire.code) == (431, "headers_too_large")


def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    headers = {**signed("POST", "/jobs", b"{}"), "content-length": str(BODY_BYTES + 1)}
    wire = ask(Behind(), Wire([b"{}"]), "/jobs", headers)
    assert (wire.answer[0], wire.code, wire.read) == (413, "too_large", 0)


def test_a_body_that_does_not_say_so_is_read_to_its_cap_and_no_further() -> None:
    body = b"a" * (BODY_BYTES // 4)
    wire = ask(Behind(), Wire([body] * 100), "/jobs", signed("POST", "/jobs", body))
    assert (wire.code, wire.read) == ("too_large", 5)


def test_an_upload_may_be_larger_but_not_endless() -> None:
    behind, body = Behind(), b"a" * UPLOAD_BYTES
    headers = signed("PUT", UPLOAD, body, content_type="application/octet-stream")
    assert ask(behind, Wire([body]), UPLOAD, headers, "PUT").sent[0]["status"] == 204
    assert ask(behind, Wire([body, b"a"]), UPLOAD, headers, "PUT").code == "too_large"


def test_a_body_that_trickles_in_is_408() -> None:
    wire = Wire([b"a"] * 100, pause_s=0.3)
    ask(Behind(), wire, "/jobs", signed("POST", "/jobs", b"a" * 100))
    assert (wire.answer[0], wire.code) == (408, "too_slow")
    assert wire.read < 10


def test_a_body_that_breaks_off_never_reaches_the_application() -> None:
    behind = Behind()
    wire = Wire([])
    assert ask(behind, wire, "/jobs", signed("POST", "/jobs", b"{}")).code == "too_slow"
    assert behind.scopes == []


def test_open_routes_pass_unsigned_and_nobody_asks() -> None:
    behind = Behind()
    ask(behind, Wire([b"{}"]), "/enrolments", {})
    [scope] = behind.scopes
    assert (scope["state"]["signed"].principal.id, behind.bodies) == ("", [b"{}"])


# --- what went wrong behind ----------------------------------------------------------------------


def test_a_refusal_from_behind_is_its_problem() -> None:
    wire = ask(Behind(Conflict("not now")), Wire([b""]), "/healthz", {}, "GET")
    assert (wire.answer[0], wire.code, wire.answer[1]["detail"]) == (409, "conflict", "not now")


def test_what_is_not_there_for_a_moment_says_when_to_come_back() -> None:
    wire = ask(Behind(Unavailable("restarting")), Wire([b""]), "/healthz", {}, "GET")
    assert dict(wire.sent[0]["headers"])[b"retry-after"] == b"1"


def test_a_bug_is_a_500_without_details() -> None:
    wire = ask(Behind(KeyError("secret")), Wire([b""]), "/healthz", {}, "GET")
    assert (wire.answer[0], wire.code) == (500, "internal")
    assert "secret" not in str(wire.sent)


def test_an_answer_that_has_begun_is_broken_off_rather_than_mended() -> None:
    wire = Wire([b""])
    with pytest.raises(ConnectionError):
        ask(Behind(KeyError("late"), begins=True), wire, "/healthz", {}, "GET")
    assert [message["type"] for message in wire.sent] == ["http.response.start"]


def crossed(error: Exception) -> Exception:
    """As it arrives from an actor: with the actor's traceback for a message."""
    return RayTaskError("apply", "Traceback: /a/path, pid=7", error).as_instanceof_cause()  # type: ignore[no-any-return]


def test_an_actors_refusal_is_told_without_its_traceback() -> None:
    problem = problem_for(crossed(NotFound("no such version: wrist@1")))
    assert (problem.status, problem.detail) == (404, "no such version: wrist@1")


def test_an_actors_bug_is_ours() -> None:
    assert problem_for(crossed(ValueError("secret"))).code == "internal"
