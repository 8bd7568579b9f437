"""A signed HTTP client: every request carries its caller's signature, every error has a type.

A command that meets a 5xx or a lost connection is sent again with the same nonce, signed anew: the
server knows it by the nonce and does nothing twice. So is one that was refused because the clock is
wrong, once, by the server's. One that loses an endpoint goes to the next at once, and asks that one
where the others are now. Plain http is for loopback alone.
"""

import asyncio
import copy
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import ValidationError

from stillhouse.entities import Entity
from stillhouse.errors import Forbidden, StillhouseError, Unavailable
from stillhouse.wire.endpoints import PATH, named_by
from stillhouse.wire.identity import Identity
from stillhouse.wire.problems import Problem, error_of
from stillhouse.wire.signatures import sign

M = TypeVar("M", bound=Entity)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TRIES = 30
PAUSE_S = 0.25  # before the second try; doubles
LONGEST_PAUSE_S = 2.0
TIMEOUT_S = 75.0  # longer than the longest poll
CLOCK_ERROR_S = 5.0  # a clock that is no further off is not to blame


Exchange = Generator[httpx2.Request | float, httpx2.Response | None, httpx2.Response]


class Caller:
    """Who asks, and how it goes on when an answer is lost: without sending anything itself.

    `wire_bytes` counts request line, status line, headers and body of every request and response as
    HTTP/1.1 writes them, failed tries included; not the framing of chunked bodies, TLS or TCP.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        identity: Identity,
        *,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(18),
        clock: Callable[[], float] = time.time,
        tries: int = TRIES,
    ) -> None:
        for endpoint in endpoints:
            check_endpoint(endpoint)
        self.key_id = ""  # until enrolled
        self.wire_bytes = 0
        self._given = tuple(endpoints)
        self.endpoints = list(endpoints)
        self._identity = identity
        self._nonce, self._clock = nonce, clock
        self._tries = tries
        self._behind_s = 0.0  # how far our clock is behind the server's

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        query: str = "",
        nonce: str | None = None,
    ) -> Exchange:
        """Yields requests to send, for an answer or None, and seconds to pause; returns the answer
        or raises the error that it stands for. One nonce, however many tries."""
        nonce = nonce or self._nonce()
        response, lost = None, set[str]()
        for attempt in range(self._tries):
            base = self.endpoints[0]
            request = self.request(base, method, path, query, headers, body, nonce)
            response = yield request
            self._count(request, response)
            if response is not None and self._was_our_clock(response):
                continue
            if response is not None and response.status_code < 500:
                if lost and len(self.endpoints) > 1:
                    yield from self._find_others(base, lost)
                return checked(response)
            self.endpoints.append(self.endpoints.pop(0))
            if response is None:
                lost.add(base)
            if response is not None or lost.issuperset(self.endpoints):
                yield min(LONGEST_PAUSE_S, PAUSE_S * 2**attempt)
        if response is None:
            raise Unavailable(f"no answer from {', '.join(self.endpoints)}")
        return checked(response)

    def request(
        self,
        base: str,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        body: bytes | None,
        nonce: str | None = None,
    ) -> httpx2.Request:
        """A request, signed as of now."""
        signed = dict(headers)
        if self.key_id:
            signed |= sign(
                self._identity,
                self.key_id,
                method=method,
                authority=urlsplit(base).netloc,
                path=path,
                query=query,
                headers=headers,
                body=body,
                nonce=nonce or self._nonce(),
                created=int(self._clock() + self._behind_s),
            )
        url = f"{base}{path}?{query}" if query else f"{base}{path}"
        return httpx2.Request(method, url, content=body, headers={"accept": "*/*", **signed})

    def _find_others(
        self, base: str, lost: Collection[str]
    ) -> Generator[httpx2.Request, httpx2.Response | None, None]:
        """Ask the one that answered where the others are now; those that we were given stay."""
        request = self.request(base, "GET", PATH, "", {}, None)
        response = yield request
        self._count(request, response)
        there = [each for each in named_by(base, response) if each not in lost]
        self.endpoints = list(dict.fromkeys((*there, base, *self._given)))

    def _was_our_clock(self, response: httpx2.Response) -> bool:
        """Set ours by the server's if that explains the refusal."""
        if response.status_code != 401:
            return False
        try:
            theirs = parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return False
        behind_s = theirs - self._clock()
        wrong = abs(behind_s - self._behind_s) > CLOCK_ERROR_S
        if wrong:
            self._behind_s = behind_s
        return wrong

    def _count(self, request: httpx2.Request, response: httpx2.Response | None) -> None:
        self.wire_bytes += head_bytes(request) + len(request.content)
        if response is not None:
            self.wire_bytes += head_bytes(response) + response.num_bytes_downloaded


class SignedClient(Caller):
    """Speaks to one of `endpoints`, the next one when it is lost. Not for two threads at once."""

    def __init__(
        self,
        endpoints: Sequence[str],
        identity: Identity,
        *,
        transport: httpx2.BaseTransport | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(18),
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        tries: int = TRIES,
    ) -> None:
        super().__init__(endpoints, identity, nonce=nonce, clock=clock, tries=tries)
        self._pause = pause
        self._transport = transport
        self._http = connection(transport)

    def close(self) -> None:
        self._http.close()

    def twin(self) -> Self:
        """The same caller for another thread, with a count of its own."""
        twin = copy.copy(self)
        twin.wire_bytes, twin.endpoints = 0, list(self.endpoints)
        twin._http = connection(self._transport)
        return twin

    def command(
        self, method: str, path: str, body: Entity | None = None, **headers: str
    ) -> httpx2.Response:
        """Send a command until it is answered; raises the error that a problem stands for."""
        content = None if body is None else body.model_dump_json().encode()
        kind = {} if body is None else {"content-type": "application/json"}
        return self.send(method, path, content, {**kind, **headers})

    def read(self, model: type[M], path: str, query: str = "") -> M:
        """GET a document."""
        return model.model_validate_json(self.send("GET", path, None, {}, query).content)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        query: str = "",
        nonce: str | None = None,
    ) -> httpx2.Response:
        steps = self.exchange(method, path, body, headers, query, nonce)
        answer: httpx2.Response | None = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, httpx2.Request):
                    answer = self._sent(step)
                else:
                    self._pause(step)
        except StopIteration as end:
            found: httpx2.Response = end.value
            return found

    @contextmanager
    def stream(
        self, base: str, path: str, query: str, headers: dict[str, str] | None = None
    ) -> Iterator[Iterator[bytes]]:
        """GET bytes as they come, from another server; httpx2.TransportError where they break."""
        check_endpoint(base)
        request = self.request(base, "GET", path, query, headers or {}, None)
        self._count(request, None)
        response = self._http.send(request, stream=True)
        self.wire_bytes += head_bytes(response)
        try:
            if response.status_code >= 400:
                self.wire_bytes += len(response.read())
                checked(response)
            yield self._counted(response)
        finally:
            response.close()

    def _sent(self, request: httpx2.Request) -> httpx2.Response | None:
        try:
            return self._http.send(request)
        except httpx2.TransportError:
            return None

    def _counted(self, response: httpx2.Response) -> Iterator[bytes]:
        for part in response.iter_raw():
            self.wire_bytes += len(part)
            yield part


class AsyncSignedClient(Caller):
    """The same for asyncio; any number of tasks may ask at once."""

    def __init__(
        self,
        endpoints: Sequence[str],
        identity: Identity,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        tries: int = TRIES,
    ) -> None:
        super().__init__(endpoints, identity, tries=tries)
        self._http = httpx2.AsyncClient(transport=transport, timeout=TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        query: str = "",
        nonce: str | None = None,
    ) -> httpx2.Response:
        steps = self.exchange(method, path, body, headers, query, nonce)
        answer: httpx2.Response | None = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, httpx2.Request):
                    answer = await self._sent(step)
                else:
                    await asyncio.sleep(step)
        except StopIteration as end:
            found: httpx2.Response = end.value
            return found

    @asynccontextmanager
    async def stream(
        self, base: str, path: str, query: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """GET bytes as they come; httpx2.TransportError where they break."""
        check_endpoint(base)
        request = self.request(base, "GET", path, query, headers or {}, None)
        response = await self._http.send(request, stream=True)
        try:
            if response.status_code >= 400:
                await response.aread()
                checked(response)
            yield response.aiter_raw()
        finally:
            await response.aclose()

    async def _sent(self, request: httpx2.Request) -> httpx2.Response | None:
        try:
            return await self._http.send(request)
        except httpx2.TransportError:
            return None


def connection(transport: httpx2.BaseTransport | None) -> httpx2.Client:
    return httpx2.Client(transport=transport, timeout=TIMEOUT_S, trust_env=False)


def head_bytes(message: httpx2.Request | httpx2.Response) -> int:
    """First line, headers, empty line."""
    if isinstance(message, httpx2.Request):
        first = f"{message.method} {message.url.raw_path.decode()} HTTP/1.1"
    else:
        first = f"HTTP/1.1 {message.status_code} {message.reason_phrase}"
    return len(first) + 4 + sum(len(name) + len(value) + 4 for name, value in message.headers.raw)


def check_endpoint(endpoint: str) -> None:
    """Forbidden for plain http to anything but this machine."""
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise Forbidden(f"{endpoint}: plain http is for loopback alone, use https")


def checked(response: httpx2.Response) -> httpx2.Response:
    """The response, or the error of its problem document."""
    if response.status_code < 400:
        return response
    raise error_from(response)


def error_from(response: httpx2.Response) -> StillhouseError:
    try:
        fields: Any = response.json()
        return error_of(Problem.model_validate(fields))
    except (ValueError, ValidationError):
        return Unavailable(f"status {response.status_code} without a problem document")
