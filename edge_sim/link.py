"""A device's link: bytes take time on it, in both directions, one connection after another.

A transport around another, so that everything above it is the product's own; `clock` and `sleep`
are arguments.
"""

import threading
import time
from collections.abc import Callable, Iterator

import httpx2

from stillhouse.wire.client import head_bytes


class Link(httpx2.BaseTransport):
    """`bytes_per_s` in all: two connections at once share it."""

    def __init__(
        self,
        bytes_per_s: float,
        inner: httpx2.BaseTransport | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._inner = inner or httpx2.HTTPTransport()
        self._clock, self._sleep = clock, sleep
        self._free_at = 0.0  # when the last byte that was taken on will have passed
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self._pass(head_bytes(request) + len(request.read()))
        answer = self._inner.handle_request(request)
        self._pass(head_bytes(answer))
        return httpx2.Response(
            answer.status_code,
            headers=answer.headers,
            stream=Paced(answer.stream, self._pass),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._inner.close()

    def _pass(self, count: int) -> None:
        """Take as long as `count` bytes take, behind those that are on their way."""
        with self._lock:
            start = max(self._clock(), self._free_at)
            self._free_at = start + count / self._bytes_per_s
            wait = self._free_at - self._clock()
        self._sleep(max(0.0, wait))


class Paced(httpx2.SyncByteStream):
    """A body whose parts pass the link before they are handed on."""

    def __init__(self, stream: object, passes: Callable[[int], None]) -> None:
        assert isinstance(stream, httpx2.SyncByteStream)  # noqa: S101  a sync transport's
        self._stream, self._passes = stream, passes

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self._passes(len(part))
            yield part

    def close(self) -> None:
        self._stream.close()
