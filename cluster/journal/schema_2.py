"""Events as journals of schema 2 hold them, read as the present rules know them.

A move's `lease_until` is its `until` now. That a chunk was acknowledged, its transfer's move in the
same commit says too. An installation belongs to its job's story.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from stillhouse.codec import Codec
from stillhouse.rows import Rows

SCHEMA = 2
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


def read(data: bytes, rows: Rows, events: Codec) -> Any | None:
    """The event as it is written today; None if another one says it. `rows` are those before it."""
    name, _, body = data.partition(b" ")
    change = CHANGED.get(name.decode())
    if change is None:
        return events.decode(data)
    fields = change(json.loads(body), rows)
    return None if fields is None else events.decode(name + b" " + json.dumps(fields).encode())
