"""Durable transitions and whole jobs: the real store, pipeline, desk and SQLite journal.

The disk's own speed (append 4 KiB, fsync) is measured beside it, in the same folder and run. Where
an fsync takes a fraction of a millisecond, as on many virtual disks, the processor is the limit and
not the disk; so the same work also runs on a disk whose every sync is made to wait for 5 ms, as a
real one's does. The limit is that of one journal, fsyncs a second times the batch: two shards, each
with a journal of its own, may exceed it.
"""

import gc
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
IDENTITY = JournalIdentity("bench", "shard-0", 1)


class Shard:
    """One shard as a JobManager runs it, without Ray: its pipeline tells how much was committed."""

    def __init__(
        self,
        path: Path,
        *,
        identity: JournalIdentity = IDENTITY,
        vfs: str | None = None,
        cached: int = 20_000,
    ) -> None:
        self.journal = SqliteJournal(path, identity, vfs)
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


@dataclass(frozen=True, slots=True)
class Lap:
    """What one shard did between the common start and its own end."""

    began: float  # seconds of the machine's monotonic clock
    ended: float
    cpu_s: float
    commits: int
    transitions: int


Calls = Sequence[Sequence[Request]]
Prepare = Callable[[Shard, Sequence[Client]], Sequence[Calls]]


def measure_durable(
    folder: Path, jobs: int, *, shards: int = 1, slow: bool = False
) -> dict[str, Value]:
    """Whole jobs by batched commands: transitions and jobs a second, against the disk's syncs."""
    syncs = SLOW_SYNC_S**-1 if slow else rate(lambda: folder / "plain", append)
    laps = race(folder, jobs, shards, whole_jobs, slow=slow)
    wall = max(lap.ended for lap in laps) - min(lap.began for lap in laps)
    moved, commits = sum(lap.transitions for lap in laps), sum(lap.commits for lap in laps)
    return {
        "jobs": jobs,
        "shards": shards,
        "disk": "5 ms a sync" if slow else "as it is",
        "wall_s": wall,
        "cpu_s": sum(lap.cpu_s for lap in laps),
        "commits": commits,
        "transitions_per_commit": moved / commits,
        "fsyncs_per_s": syncs,
        "durable_transitions_per_s": moved / wall,
        "durable_limit_share": moved / wall / (syncs * BATCH),
        "jobs_batched_per_s": jobs / wall,
    }


def whole_jobs(shard: Shard, clients: Sequence[Client]) -> Sequence[Calls]:
    """Enrol; then each caller's calls."""
    setup = [announced(), *(each for client in clients for each in client.enrolled())]
    for first in range(0, len(setup), 1000):
        shard.apply(setup[first : first + 1000])
    side_by_side = max(1, BATCH * 19 // 44)  # jobs whose commands make a hundred transitions
    return [list(batches(clients[each::CALLERS], side_by_side)) for each in range(CALLERS)]


def race(
    folder: Path, jobs: int, shards: int, prepare: Prepare, *, slow: bool = False
) -> list[Lap]:
    """Shards in processes of their own, as in a deployment: each prepares, all start at once."""
    context = multiprocessing.get_context("spawn")
    start, laps = context.Barrier(shards), context.SimpleQueue()
    runners = [
        context.Process(
            target=run, args=(folder, f"race-{shard}", jobs, shards, prepare, slow, start, laps)
        )
        for shard in range(shards)
    ]
    for runner in runners:
        runner.start()
    found = [laps.get() for _ in runners]
    for runner in runners:
        runner.join()
    return found


def run(
    folder: Path,
    name: str,
    jobs: int,
    shards: int,
    prepare: Prepare,
    slow: bool,
    start: Any,
    laps: Any,
) -> None:
    """One shard's process: every so-manieth client is its own."""
    disk = SlowDisk() if slow else None
    number = int(name.rpartition("-")[2])
    clients = [Client.numbered(each) for each in range(number, jobs, shards)]
    with opened(folder, name, vfs="slow" if slow else None) as shard:
        calls = prepare(shard, clients)
        commits, moved = shard.commits, shard.transitions
        gc.collect()
        gc.freeze()  # what the benchmark holds is not the shard's garbage
        start.wait()
        began, cpu = time.monotonic(), time.process_time()
        together([threading.Thread(target=play, args=(shard, each)) for each in calls])
        lap = Lap(
            began,
            time.monotonic(),
            time.process_time() - cpu,
            shard.commits - commits,
            shard.transitions - moved,
        )
    del disk
    laps.put(lap)


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
