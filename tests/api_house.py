"""The API in this process: real rules, real signatures, no Ray."""

import secrets
from typing import Any

import anyio.from_thread
import httpx2
from fakes import LocalBackend

from serve_app.app import create_app
from stillhouse.entities import ProfileSpec, Role
from stillhouse.sdk import Stillhouse
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity
from stillhouse.wire.membership import enrol

URL = "http://127.0.0.1:8700"
SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=100_000,
    storage_bytes=50_000,
    latency_p95_ms=5.0,
    max_accuracy_drop=0.03,
)


class AsgiTransport(httpx2.BaseTransport):
    """Sync calls into the ASGI application, on an event loop of its own."""

    def __init__(self, app: Any, portal: anyio.from_thread.BlockingPortal) -> None:
        self._inner = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        self._portal = portal

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        sent = httpx2.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        found = await self._inner.handle_async_request(sent)
        content = await found.aread()
        return httpx2.Response(
            found.status_code,
            headers=found.headers,
            stream=httpx2.ByteStream(content),
            request=request,
        )


class House:
    """A server and ways to speak to it."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, *, open_enrolment: bool) -> None:
        self.backend = LocalBackend()
        app = create_app(
            self.backend, self.backend.find, ("127.0.0.1:8700",), open_enrolment=open_enrolment
        )
        self.transport = AsgiTransport(app, portal)

    def plain(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """A request without a signature."""
        with httpx2.Client(transport=self.transport) as client:
            return client.request(method, URL + path, **options)

    def member(
        self, name: str, role: Role = Role.CLIENT, holdings: tuple[str, ...] = ()
    ) -> "Member":
        return Member(self, Identity.derive(name.encode()), role, holdings)


class Member(Stillhouse):
    """An enrolled principal."""

    def __init__(
        self, house: House, identity: Identity, role: Role, holdings: tuple[str, ...] = ()
    ) -> None:
        super().__init__([URL], identity, role)
        self.http = SignedClient([URL], identity, transport=house.transport, pause=lambda _: None)
        self.house = house
        self.id = enrol(self.http, identity, role, holdings).principal_id

    def signed(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> httpx2.Response:
        """A signed request with any bytes as its body; whatever comes back."""
        path, _, query = path.partition("?")
        kind = {} if body is None else {"content-type": "application/json"}
        wanted = {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        nonce = wanted.pop("nonce", secrets.token_urlsafe(18))
        request = self.http.request(URL, method, path, query, wanted, body, nonce)
        with httpx2.Client(transport=self.house.transport) as client:
            return client.send(request)
