"""How many commits and transitions the SQLite journal makes durable in a second, by batch size.

A commit waits for the disk, so the disk's own speed (append 4 KiB, fsync) is measured beside
each batch size in the same run. A transition is an event, a row, an index change and an answer.
"""

import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

from benchmarks.report import Measured, Value
from cluster.journal import sqlite
from cluster.journal.contract import Commit, JournalIdentity, StoredAnswer
from cluster.journal.sqlite import SqliteJournal
from cluster.private_files import make_folder
from stillhouse.decisions import Effect, Index

FOLDER = Path(".stillhouse")  # the disk that a local deployment keeps its state on
BATCHES = (1, 10, 100)
EVENT_BYTES, ROW_BYTES, ANSWER_BYTES, JOBS = 300, 2_000, 200, 10_000
T = TypeVar("T")
IDENTITY = JournalIdentity("bench", "shard-0", 1, 1)


def measure(long: bool) -> Measured:
    """Medians over rounds; each round measures every batch size and the disk beside it."""
    make_folder(FOLDER)
    with TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "journal.sqlite"
        sqlite.initialise(path, IDENTITY)
        journal, numbers = SqliteJournal(path, IDENTITY), count()
        rows = tuple(
            row
            for round in range(15 if long else 5)
            for size in BATCHES
            for row in measured(journal, numbers, size, Path(folder) / "plain", round)
        )
        journal.close()
    return Measured(dict(medians(rows)), rows)


def measured(
    journal: SqliteJournal, numbers: Iterator[int], size: int, plain: Path, round: int
) -> Iterator[dict[str, Value]]:
    syncs = rate(lambda: plain, append)
    commits = rate(lambda: batch(numbers, size), journal.commit)
    yield {
        "round": round,
        "batch": size,
        "fsyncs_per_s": syncs,
        "commits_per_s": commits,
        "transitions_per_s": commits * size,
        "commits_per_fsync": commits / syncs,
    }


def medians(rows: tuple[dict[str, Value], ...]) -> Iterator[tuple[str, float]]:
    yield "fsyncs_per_s", median(float(row["fsyncs_per_s"]) for row in rows)
    for size in BATCHES:
        for name in ("commits_per_s", "transitions_per_s"):
            values = [float(row[name]) for row in rows if row["batch"] == size]
            yield f"batch_{size}_{name}", median(values)


def rate(prepare: Callable[[], T], action: Callable[[T], None], seconds: float = 0.5) -> float:
    """Times per second that `action` can be done; preparing what it is done with is not counted."""
    spent_s, done = 0.0, 0
    while spent_s < seconds:
        given = prepare()
        start = time.perf_counter()
        action(given)
        spent_s += time.perf_counter() - start
        done += 1
    return done / spent_s


def append(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, bytes(4096))
    os.fsync(handle)
    os.close(handle)


def batch(numbers: Iterator[int], size: int) -> Commit:
    """The next `size` transitions, each of another job."""
    chosen = [next(numbers) for _ in range(size)]
    jobs = [f"job-{number * 7919 % JOBS:08d}" for number in chosen]
    return Commit(
        now=float(chosen[0]),
        events=tuple((job, os.urandom(EVENT_BYTES)) for job in jobs),
        rows={job: os.urandom(ROW_BYTES) for job in jobs},
        indexes=tuple(Index(outbox=(Effect(job, "plan", "plan", 1),)) for job in jobs),
        answers=tuple(
            StoredAnswer(os.urandom(16).hex(), "digest", 200, os.urandom(ANSWER_BYTES))
            for _ in chosen
        ),
    )
