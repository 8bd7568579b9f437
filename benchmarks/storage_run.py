"""The story of fifty transitions, run once on a disk that notes what it was told.

What is needed to run it again, and to look at what is left of it: the journal as it is opened, shut
and opened again in the midst, the answers to each batch, and a digest of all tables after it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from benchmarks.faulty_vfs import Disk, Step
from benchmarks.storage_script import IDENTITY, RULES, Batch, script
from cluster.journal import sqlite
from cluster.journal.sqlite import SqliteJournal
from cluster.store import Store
from stillhouse.errors import JournalUnavailable, StillhouseError

NAME = "journal.sqlite"
VFS = "faulty"
PAUSE = 5  # batches between the checkpoints: every second one closes the journal


@dataclass(frozen=True, slots=True)
class Recording:
    """The story as a disk saw it."""

    files: Mapping[str, bytes]  # before it
    batches: Sequence[Batch]
    states: Sequence[str]  # of the tables: before the first batch, after the first, ...
    steps: Sequence[Step]
    acknowledged: Sequence[int]  # steps done when the n-th batch was answered


def record(folder: Path) -> Recording:
    """Run the story once on a disk that notes everything."""
    batches, path = script(), folder / NAME
    sqlite.initialise(path, IDENTITY)
    files = {NAME: path.read_bytes()}
    disk = Disk(VFS)
    states, acknowledged = [state(path)], [0]
    for store, batch in zip(stores(path, len(batches), disk), batches, strict=True):
        tell(store, batch)
        acknowledged.append(len(disk.steps))
        states.append(state(path))
    disk.unregister()
    return Recording(files, batches, states, disk.steps, acknowledged)


def stores(path: Path, batches: int, disk: Disk) -> Iterator[Store]:
    """The store for each batch: one and the same, but for checkpoints and restarts in between."""
    journal = opened(path, disk)
    store = Store(RULES, journal)
    for number in range(1, batches + 1):
        yield store
        if number % (2 * PAUSE) == 0:
            journal.close()
            journal = opened(path, disk)
            store = Store(RULES, journal)
        elif number % PAUSE == 0:
            checkpoint(path)
    journal.close()


def opened(path: Path, disk: Disk) -> SqliteJournal:
    """The journal; where the disk fails, once it is well again: a shard is restarted until then."""
    try:
        return SqliteJournal(path, IDENTITY, VFS)
    except JournalUnavailable:
        disk.fault = None
        return SqliteJournal(path, IDENTITY, VFS)


def checkpoint(path: Path) -> None:
    """Copy the log into the database; the next commit begins the log anew. It may fail."""
    with suppress(apsw.Error):
        connection = sqlite.connect(path, VFS)
        try:
            connection.execute("PRAGMA wal_checkpoint").fetchall()
        finally:
            connection.close(force=True)


def tell(store: Store, batch: Batch) -> str | None:
    """What is wrong with the answers to a batch; None if they are as ever."""
    answers = store.apply(batch.requests, batch.now).answers
    if tuple(answers) == batch.answers:
        return None
    failed = [each for each in answers if isinstance(each, StillhouseError)]
    well = all(isinstance(each, JournalUnavailable) for each in failed)
    return "unwell" if failed and well else "doubled"


def state(path: Path) -> str:
    """A digest of all tables but the identity, which holds the epoch."""
    connection = apsw.Connection(str(path))
    try:
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'journal'"
        tables: list[str] = sorted(name for (name,) in connection.execute(names))
        rows = {each: sorted(connection.execute(f"SELECT * FROM {each}")) for each in tables}  # noqa: S608  our own names
    finally:
        connection.close()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def sound(path: Path) -> bool:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except apsw.Error:
        return False
    finally:
        connection.close()


@contextmanager
def hasty() -> Iterator[Disk]:
    """A default VFS that syncs nothing: what a cut left is judged, and need not outlive a cut."""
    disk = Disk("hasty", default=True)
    try:
        yield disk
    finally:
        disk.unregister()


def lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
