"""Server-sent events out of bytes as they come (HTML, 9.2), and a story told over connections that
break. Nothing is sent here: both clients bring the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx2

from stillhouse.errors import Unavailable
from stillhouse.wire.client import LONGEST_PAUSE_S, PAUSE_S
from stillhouse.wire.messages import StoryEvent

BROKEN = (httpx2.TransportError, httpx2.StreamError, Unavailable)  # the story may be taken up again
FAILURES = 10  # in a row without a new event: about fifteen seconds


@dataclass(frozen=True, slots=True)
class ServerSent:
    """One event; `id` is the last that was seen by then, `data` its lines joined."""

    id: str
    event: str
    data: str


@dataclass(slots=True)
class Reader:
    """Feed it parts of a stream; it gives the events that became whole.

    Comments are left out; an event without data is dropped with all its fields.
    """

    last_id: str = ""
    _rest: bytes = b""
    _fields: dict[str, str] = field(default_factory=dict)
    _data: list[str] = field(default_factory=list)

    def feed(self, part: bytes) -> Iterator[ServerSent]:
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            text = line.decode().removesuffix("\r")
            if text:
                self._read(text)
            else:
                yield from self._whole()

    def _read(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name:
            self._fields[name] = value

    def _whole(self) -> Iterator[ServerSent]:
        fields, data = self._fields, self._data
        self._fields, self._data = {}, []
        if data:
            self.last_id = fields.get("id", self.last_id)
            yield ServerSent(self.last_id, fields.get("event", "message"), "\n".join(data))


class Story:
    """Where a reader of a job's story is, over as many connections as it takes."""

    def __init__(self, after: int) -> None:
        self.over = False
        self._reader = Reader(str(after))
        self._failures = 0

    @property
    def headers(self) -> dict[str, str]:
        """What the next connection asks for."""
        return {"last-event-id": self._reader.last_id}

    def feed(self, part: bytes) -> Iterator[StoryEvent]:
        """The new events; nothing once the story is over."""
        for event in self._reader.feed(part):
            if event.event == "end":
                self.over = True
                return
            self._failures = 0
            yield StoryEvent.model_validate_json(event.data)

    def broken(self, why: Exception | None) -> float:
        """Begin anew behind the last event: seconds to pause before; Unavailable once it failed
        too often without a new event. `why` is None for a stream that just ended."""
        self._reader = Reader(self._reader.last_id)
        self._failures += 1
        if self._failures >= FAILURES:
            raise Unavailable(f"the events do not go on: {why or 'the stream ends early'}")
        return min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** (self._failures - 1))
