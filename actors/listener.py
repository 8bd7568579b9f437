"""The chunk server's own HTTP listener: one route behind the gate, bytes as records are sealed.

Bulk bytes never pass Serve: a listener of our own streams many times faster (docs/decisions/0002).
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from stillhouse.entities import Principal
from stillhouse.errors import Invalid, NotFound

Open = Callable[[Principal, str, int, int], Awaitable[AsyncIterator[bytes | memoryview]]]
ROUTE = re.compile(r"^/deliveries/([a-z]{3}-[0-9a-f]{8}-[0-9a-f]{16})/chunks/(\d{1,3})$")


def chunk_app(open_chunk: Open) -> Any:
    """ASGI: GET /deliveries/{id}/chunks/{i}?from_record=n, for a caller that the gate let in."""

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001  no body is read
        found = ROUTE.match(scope["path"])
        if found is None or scope["method"] != "GET":
            raise NotFound("chunks are at /deliveries/{id}/chunks/{i}")
        who = scope["state"]["signed"].principal
        first = first_record(scope["query_string"])
        records = await open_chunk(who, found[1], int(found[2]), first)
        headers = [(b"content-type", b"application/octet-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for record in records:
            await send({"type": "http.response.body", "body": record, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def first_record(query: bytes) -> int:
    """The record to begin with; 0 unless the query says otherwise."""
    if not query:
        return 0
    name, _, value = query.decode("ascii", "replace").partition("=")
    if name != "from_record" or not re.fullmatch(r"\d{1,9}", value):
        raise Invalid("the only query is from_record=<number>")
    return int(value)


def listen(app: Any, host: str, port: int) -> None:
    """Serve `app` from a thread of its own for as long as the process lives."""
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", lifespan="off", access_log=False
    )
    server = uvicorn.Server(config)
    threading.Thread(target=lambda: asyncio.run(server.serve()), name="chunks", daemon=True).start()
