"""Events as journals of schema 3 hold them, read as the present rules know them.

A family's table has `outputs` for `classes`. The memory of training was measured once, while all
of a student trains: it stands for smaller shares, too, which take no more. The family's own file
is not read any more (`compress/container.py`); its table keeps what was planned by it readable.
"""

import json
from collections.abc import Iterator
from itertools import chain, starmap
from typing import Any

import apsw

from cluster.journal.contract import StreamEvent
from cluster.journal.tables import unpacked
from stillhouse.codec import Codec
from stillhouse.entities import TRAINABLE

TABLE_STORED = b"TableStored"


def events(source: apsw.Connection) -> Iterator[StreamEvent]:
    """The journal's own, oldest first; those of one run are one row."""
    rows: Any = source.execute("SELECT sequence, stream, at, data FROM events ORDER BY sequence")
    return chain.from_iterable(starmap(unpacked, rows))


def read(data: bytes, events: Codec) -> Any:
    """The event as it is written today."""
    name, _, body = data.partition(b" ")
    if name != TABLE_STORED:
        return events.decode(data)
    fields = json.loads(body)
    fields["table"] = table(fields["table"])
    return events.decode(name + b" " + json.dumps(fields).encode())


def table(fields: dict[str, Any]) -> dict[str, Any]:
    if "classes" not in fields:
        return fields
    outputs = fields.pop("classes")
    return {**fields, "outputs": outputs, "rows": [row(each) for each in fields["rows"]]}


def row(facts: dict[str, Any]) -> dict[str, Any]:
    return {**facts, "training_memory_bytes": [facts["training_memory_bytes"]] * len(TRAINABLE)}
