"""The gate before every listener: who asks is settled from the headers, before a body byte is read.

Order: header size, signature, key, verification; then the body under a deadline and a cap; then its
digest. Whatever goes wrong, here or behind, is a problem document; a bug is a 500 without details.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayTaskError

from stillhouse.entities import Principal, Role
from stillhouse.errors import (
    HeadersTooLarge,
    StillhouseError,
    TooLarge,
    TooSlow,
    Unauthenticated,
)
from stillhouse.wire.problems import Problem, problem_of
from stillhouse.wire.signatures import check_body, parse, verify

Find = Callable[[str], Awaitable[tuple[Principal, str] | None]]  # keyid -> principal, public key
OPEN = re.compile(
    r"^/(healthz|readyz|endpoints|openapi\.json|trust_anchors"
    r"|enrolments|enrolments/[^/]+/confirmation)$"
)
UPLOAD = re.compile(r"^/central_models/[^/]+/versions/[^/]+/files/[^/]+$")
HEADER_BYTES = 16 << 10
BODY_BYTES = 256 << 10
UPLOAD_BYTES = 8 << 20
BODY_S = 2.0  # from the first byte to the last
UPLOAD_S = 60.0
NOBODY = Principal(id="", role=Role.CLIENT)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Signed:
    """What the gate knows of a request: who, the command's key, and the digest of what is asked."""

    principal: Principal
    nonce: str
    digest: str  # SHA-256 of method, path, query and body


class Gate:
    """ASGI middleware; puts `Signed` into the scope's state under "signed"."""

    def __init__(
        self,
        app: Any,
        find: Find,
        authorities: Sequence[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._find = find
        self._authorities = tuple(authorities)
        self._clock = clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)  # type: ignore[no-any-return]
        begun = Begun(send)
        try:
            await self._admit(scope, receive, begun)
        except Exception as error:
            problem = problem_for(error)
            if problem is INTERNAL:
                log.exception("a bug behind %s %s", scope["method"], scope["path"])
            await begun.answer(problem)

    async def _admit(self, scope: Any, receive: Any, send: Any) -> None:
        headers = readable(scope)
        principal, nonce = await self._authenticate(scope, headers)
        body = await read_body(scope["path"], headers, receive)
        if nonce:
            check_body(headers, body)
        signed = Signed(principal, nonce, request_digest(scope, body))
        state = {**scope.get("state", {}), "signed": signed}
        await self._app({**scope, "state": state}, replay(body, receive), send)

    async def _authenticate(self, scope: Any, headers: dict[str, str]) -> tuple[Principal, str]:
        if OPEN.match(scope["path"]):
            return NOBODY, ""
        parsed = parse(headers)
        found = await self._find(parsed.key_id)
        if found is None:
            raise Unauthenticated(f"no key {parsed.key_id} is in force")
        principal, public_key = found
        verify(
            parsed,
            method=scope["method"],
            authority=headers.get("host", ""),
            path=raw_path(scope),
            query=scope["query_string"].decode("ascii", "replace"),
            headers=headers,
            public_key=public_key,
            now=self._clock(),
            authorities=self._authorities,
        )
        return principal, parsed.nonce


class Begun:
    """A `send` that knows whether the answer has begun: then a problem can no longer replace it."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self._begun = self._whole = False

    async def __call__(self, message: Any) -> None:
        self._begun = True
        self._whole = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)

    async def answer(self, problem: Problem) -> None:
        if self._whole:  # the error came behind a complete answer
            return
        if self._begun:
            raise ConnectionError("the answer broke off")  # the server closes the connection
        body = problem.model_dump_json(exclude_none=True).encode()
        headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", str(problem.retry_after_s).encode()))
        await self({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


INTERNAL = Problem(
    type="urn:stillhouse:problem:internal",
    title="A bug on our side",
    status=500,
    code="internal",
    detail="The operator finds it in the log.",
    action="Try again with the same idempotency key; report it if it stays.",
)


def problem_for(error: Exception) -> Problem:
    """A refusal as its problem, also one that an actor raised; anything else is a bug of ours."""
    if isinstance(error, RayTaskError):
        error = error.cause  # its own words are the actor's traceback
    return problem_of(error) if isinstance(error, StillhouseError) else INTERNAL


def readable(scope: Any) -> dict[str, str]:
    """Headers by lower-case name; Unauthenticated for a doubled one."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
        raise HeadersTooLarge(f"headers are capped at {HEADER_BYTES} bytes")
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in headers and key.startswith(("signature", "content-", "host", "if-", "idem")):
            raise Unauthenticated(f"the header {key} came twice")
        headers[key] = value.decode("latin-1")
    return headers


async def read_body(path: str, headers: dict[str, str], receive: Any) -> bytes:
    """The whole body; TooLarge over its cap, TooSlow after its deadline."""
    upload = UPLOAD.match(path)
    cap, deadline_s = (UPLOAD_BYTES, UPLOAD_S) if upload else (BODY_BYTES, BODY_S)
    claimed = headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed) > cap:
        raise TooLarge(f"this route takes at most {cap} bytes")
    try:
        async with asyncio.timeout(deadline_s):
            return await collect(receive, cap)
    except TimeoutError:
        raise TooSlow(f"the body must arrive within {deadline_s:g} s") from None


async def collect(receive: Any, cap: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise TooSlow("the connection closed before the body was whole")
        body += message.get("body", b"")
        if len(body) > cap:
            raise TooLarge(f"this route takes at most {cap} bytes")
        if not message.get("more_body"):
            return bytes(body)


def replay(body: bytes, receive: Any) -> Any:
    """A `receive` that gives the body once, and then what the server says."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    return again


def raw_path(scope: Any) -> str:
    """The path as it was signed, before any decoding."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("ascii", "replace")


def request_digest(scope: Any, body: bytes) -> str:
    """What a repeat of a command must have in common with the first: method, path, query, body."""
    parts = (scope["method"].encode(), raw_path(scope).encode(), scope["query_string"], body)
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()
