"""Server-sent events out of bytes as they come (HTML, 9.2); comments are left out."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerSent:
    """One event; `id` is the last that was seen by then."""

    id: str
    event: str
    data: str


@dataclass(slots=True)
class Reader:
    """Feed it parts of a stream; it gives the events that became whole."""

    last_id: str = ""
    _rest: bytes = b""
    _fields: dict[str, str] = field(default_factory=dict)

    def feed(self, part: bytes) -> Iterator[ServerSent]:
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            name, _, value = line.decode().rstrip("\r").partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            elif not value and "data" in self._fields:
                self.last_id = self._fields.get("id", self.last_id)
                fields, self._fields = self._fields, {}
                yield ServerSent(self.last_id, fields.get("event", "message"), fields["data"])
