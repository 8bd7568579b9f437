"""Events as journals of schema 2 hold them, read as schema 3 knew them, and so on.

A move's `lease_until` is its `until` now. That a chunk was acknowledged, its transfer's move in the
same commit says too. An installation belongs to its job's story. What schema 3 wrote is read as
well: the archive of its journal may be older than the journal.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apsw

from cluster.journal import schema_3
from cluster.journal.contract import StreamEvent
from stillhouse.codec import Codec
from stillhouse.rows import Rows

Fields = dict[str, Any]


def moved(fields: Fields, _: Rows) -> Fields:
    until = fields.pop("lease_until", None)
    return {**fields, "until": until}


def acknowledged(_: Fields, __: Rows) -> None:
    """The transfer's move says it."""


def installed(fields: Fields, rows: Rows) -> Fields:
    return {"job_id": rows[fields["delivery_id"]].job_id, **fields}


CHANGED: Mapping[str, Callable[[Fields, Rows], Fields | None]] = {
    "JobMoved": moved,
    "ChunkAcknowledged": acknowledged,
    "StudentInstalled": installed,
}


def events(source: apsw.Connection) -> Iterator[StreamEvent]:
    """The journal's own, oldest first, each a row."""
    rows: Any = source.execute("SELECT sequence, stream, at, data FROM events ORDER BY sequence")
    return (StreamEvent(*row) for row in rows)


def left_out(after: StreamEvent) -> bool:
    """Whether schema 3 left out the event before this one: that a chunk was acknowledged."""
    name, _, body = after.data.partition(b" ")
    return name == b"JobMoved" and b'"acknowledged"' in body


def read(data: bytes, rows: Rows, events: Codec) -> Any | None:
    """The event as it is written today; None if another one says it. `rows` are those before it."""
    name, _, body = data.partition(b" ")
    change = CHANGED.get(name.decode())
    if change is None or not body.startswith(b"{"):  # schema 3 writes a move as a list
        return schema_3.read(data, events)
    fields = change(json.loads(body), rows)
    if fields is None:
        return None
    return schema_3.read(name + b" " + json.dumps(fields).encode(), events)
