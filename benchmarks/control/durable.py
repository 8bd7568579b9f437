"""Durable transitions and whole jobs: the real store, pipeline, desk and SQLite journal.

The disk's own speed (append 4 KiB, fsync) is measured beside it, in the same folder and run. Where
an fsync takes a fraction of a millisecond, as on many virtual disks, the processor is the limit and
not the disk; so the same work also runs on a disk whose every sync is made to wait for 5 ms, as a
real one's does.
"""

import gc
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from actors.desk import Desk
from benchmarks.control.workload import CHUNKS, Client, announced, whole_job
from benchmarks.journal import append, rate
from benchmarks.report import Value
from cluster.journal import sqlite
from cluster.journal.contract import JournalIdentity
from cluster.journal.sqlite import SqliteJournal
from cluster.pipeline import Pipeline
from cluster.store import Batch, Store
from stillhouse import shard
from stillhouse.decisions import Request
from stillhouse.errors import StillhouseError
from stillhouse.events import JobMoved

BATCH = 100  # transitions in one call
SLOW_SYNC_S = 0.005
CALLERS = 2  # what one decides, while the other's commit waits for the disk
RULES: Any = shard
IDENTITY = JournalIdentity("bench", "shard-0", 1, 3)


class Shard:
    """One shard as a JobManager runs it, without Ray: its pipeline tells how much was committed."""

    def __init__(self, path: Path, *, vfs: str | None = None, cached: int = 20_000) -> None:
        self.journal = SqliteJournal(path, IDENTITY, vfs)
        self.store = Store(RULES, self.journal, cached)
        self.commits = self.transitions = 0
        self.pipeline = Pipeline(self.store, self._told)
        self.desk = Desk(self.pipeline, self.store, self.journal, in_flight=10_000)

    def _told(self, batch: Batch, _: float) -> None:
        if batch.events:
            self.commits += 1
            self.transitions += sum(1 for event in batch.events if type(event) is JobMoved)

    def apply(self, requests: Sequence[Request]) -> None:
        """Commit, and fail where anything is refused."""
        answers = self.pipeline.apply(requests, time.time())
        refused = next((each for each in answers if isinstance(each, StillhouseError)), None)
        if refused is not None:
            raise refused


class SlowFile(apsw.VFSFile):
    """A file whose every sync waits as long as one on a real disk."""

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        time.sleep(SLOW_SYNC_S)
        super().xSync(flags)


class SlowDisk(apsw.VFS):
    """The system's files, each sync slow."""

    def __init__(self) -> None:
        super().__init__("slow", "")

    def xOpen(self, name: Any, flags: list[int]) -> SlowFile:  # noqa: N802
        return SlowFile("", name, flags)


def measure_durable(folder: Path, jobs: int, *, slow: bool = False) -> dict[str, Value]:
    """Whole jobs by batched commands: transitions and jobs a second, against the disk's syncs."""
    disk = SlowDisk() if slow else None
    with opened(folder, f"{jobs}-{slow}", vfs="slow" if slow else None) as shard:
        clients = [Client.numbered(number) for number in range(jobs)]
        setup = [announced(), *(each for client in clients for each in client.enrolled())]
        for first in range(0, len(setup), 1000):
            shard.apply(setup[first : first + 1000])
        per_call = max(1, BATCH * 19 // 44)  # commands that make about a hundred transitions
        plans = [list(batches(clients[each::CALLERS], per_call)) for each in range(CALLERS)]
        syncs = SLOW_SYNC_S**-1 if slow else rate(lambda: folder / "plain", append)
        commits, moved = shard.commits, shard.transitions
        gc.collect()
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        together([threading.Thread(target=play, args=(shard, plan)) for plan in plans])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        gc.unfreeze()
    del disk
    commits, moved = shard.commits - commits, shard.transitions - moved
    limit = syncs * BATCH
    return {
        "jobs": jobs,
        "disk": "5 ms a sync" if slow else "as it is",
        "wall_s": wall,
        "cpu_s": cpu,
        "commits": commits,
        "transitions_per_commit": moved / commits,
        "fsyncs_per_s": syncs,
        "durable_transitions_per_s": moved / wall,
        "durable_limit_share": moved / wall / limit,
        "jobs_batched_per_s": jobs / wall,
    }


def batches(clients: Sequence[Client], size: int) -> Iterator[list[Request]]:
    """Commands of many jobs side by side, `size` in a call: each call has one of each job."""
    for first in range(0, len(clients), size):
        scripts = [whole_job(client, 1, CHUNKS) for client in clients[first : first + size]]
        yield from map(list, zip(*scripts, strict=True))


def play(shard: Shard, calls: Sequence[Sequence[Request]]) -> None:
    for call in calls:
        shard.apply(call)


def together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def opened(folder: Path, name: str, **options: Any) -> Iterator[Shard]:
    """A shard on a fresh journal."""
    path = folder / f"{name}.sqlite"
    sqlite.initialise(path, IDENTITY)
    shard = Shard(path, **options)
    try:
        yield shard
    finally:
        shard.journal.close()
        for file in folder.glob(f"{name}.sqlite*"):
            file.unlink()
