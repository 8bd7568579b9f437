"""Events that a journal need not hold any more, in Parquet files: `shard-0.<first>-<last>.parquet`.

A file is durable before its events are deleted from the journal. A crash in between leaves events
in both, and the next file may begin with them again: reading gives each sequence once, in order.
pyarrow is imported when it is needed: a shard that archives nothing goes without it.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cluster.journal.contract import StreamEvent
from cluster.private_files import write_file
from stillhouse.errors import Invalid

NAME = re.compile(r"(?P<publisher>.+)\.(?P<first>\d{19})-(?P<last>\d{19})\.parquet")
COLUMNS = ("sequence", "stream", "at", "data")
ROW_GROUP = 10_000  # events: what reading one story decodes at a time


class Archived(NamedTuple):
    """A file, ordered as its events are."""

    first: int
    last: int
    path: Path


def archive_events(events: Sequence[StreamEvent], folder: Path, publisher: str) -> Path:
    """Write the events, ordered by sequence, to a file of their own (0600), durably."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not events:
        raise Invalid("there is nothing to archive")
    types = (pa.int64(), pa.string(), pa.float64(), pa.binary())
    columns = [pa.array(c, t) for c, t in zip(zip(*events, strict=True), types, strict=True)]
    sink = pa.BufferOutputStream()
    table = pa.table(dict(zip(COLUMNS, columns, strict=True)))
    pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
    first, last = events[0].sequence, events[-1].sequence
    path = folder / f"{publisher}.{first:019d}-{last:019d}.parquet"
    write_file(path, memoryview(sink.getvalue()))
    return path


def archived_events(
    folder: Path, publisher: str, stream: str | None = None, after: int = 0
) -> Iterator[StreamEvent]:
    """Events above the sequence `after`, of one stream or all, in order and each once."""
    for file in archived_files(folder, publisher):
        if file.last > after:
            for event in read(file.path, stream, after):
                after = event.sequence
                yield event
            after = max(after, file.last)


def archived_files(folder: Path, publisher: str) -> list[Archived]:
    """The publisher's files, oldest events first; none if nothing was ever archived."""
    matches = [(path, NAME.fullmatch(path.name)) for path in folder.glob("*.parquet")]
    return sorted(
        Archived(int(match["first"]), int(match["last"]), path)
        for path, match in matches
        if match and match["publisher"] == publisher
    )


def read(path: Path, stream: str | None, after: int) -> Iterator[StreamEvent]:
    """One file's events by row groups; those without what is asked for are passed over."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            names = file.read_row_group(group, ["sequence", "stream"])
            wanted = pc.greater(names["sequence"], after)
            if stream is not None:
                wanted = pc.and_(wanted, pc.equal(names["stream"], stream))
            if pc.any(wanted).as_py():
                found = file.read_row_group(group, list(COLUMNS)).filter(wanted)
                rows = zip(*(found[name].to_pylist() for name in COLUMNS), strict=True)
                yield from (StreamEvent(*row) for row in rows)
