"""Four shards in one process with ever more clients: what a transition, a restart and memory cost.

Every client has a profile and a job that waits for its device. Journals are filled without syncs,
which is not measured. Then a fresh process opens the four shards, answers, and runs whole jobs of
clients all over the range: what it reads is in no cache of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import apsw

from benchmarks.control.durable import RULES
from benchmarks.control.workload import Client, announced
from benchmarks.report import Value
from cluster.journal import sqlite
from cluster.journal.contract import JournalIdentity
from cluster.journal.sqlite import SqliteJournal
from cluster.store import Store
from stillhouse.decisions import Request
from stillhouse.errors import StillhouseError
from stillhouse.ids import shard_of

SHARDS = 4
PAGE = 2_000  # clients in one commit, while journals are filled


def measure_clients(folder: Path, counts: list[int]) -> Iterator[dict[str, Value]]:
    """A row for each number of clients, fewest first; the journals grow from one to the next."""
    for shard in range(SHARDS):
        sqlite.initialise(place(folder, shard), identity(shard))
    before = 0
    for clients in counts:
        began = time.perf_counter()
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            shards = range(SHARDS)
            list(pool.map(partial(fill, folder, first=before, last=clients), shards))
        filled = time.perf_counter() - began
        warm(folder)
        size = sum(file.stat().st_size for file in folder.glob("shard-*"))
        yield {
            "part": "clients",
            "clients": clients,
            "fill_s": filled,
            "disk_gib": size / 2**30,
            **in_a_fresh_process(folder, before, clients),
        }
        before = clients


def warm(folder: Path) -> None:
    """Have the system read the journals: what a transition costs is measured, not a cold disk."""
    for file in folder.glob("shard-*"):
        with file.open("rb", buffering=0) as stream:
            while stream.read(64 << 20):
                pass


class Hasty(SqliteJournal):
    """Waits for no disk: what fills the journals is not what is measured."""

    def _connect(self) -> apsw.Connection:
        connection = super()._connect()
        connection.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
        return connection


def place(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard}.sqlite"


def identity(shard: int) -> JournalIdentity:
    return JournalIdentity("bench", f"shard-{shard}", SHARDS)


def fill(folder: Path, shard: int, *, first: int, last: int) -> None:
    """Clients of a shard from `first` on, each with a profile and a job; without syncs."""
    journal = Hasty(place(folder, shard), identity(shard))
    store = Store(RULES, journal, cached=50_000)
    told(store, [announced()])
    mine = (each for each in map(Client.numbered, range(first, last)) if home(each) == shard)
    for _, page in groupby(enumerate(mine), key=lambda each: each[0] // PAGE):
        told(store, [request for _, each in page for request in (*each.enrolled(), bare(each))])
    journal.close()


def home(client: Client) -> int:
    return shard_of(client.principal.id, SHARDS)


def bare(client: Client) -> Request:
    """A submission whose answer nobody asks for again."""
    submit = client.submits(1)
    return Request("", "", submit.principal, submit.command)


def told(store: Store, requests: list[Request]) -> None:
    for answer in store.apply(requests, time.time()).answers:
        if isinstance(answer, StillhouseError):
            raise answer


def in_a_fresh_process(folder: Path, first: int, last: int) -> dict[str, Value]:
    """What `restart` says, and how long it took from its process's start to its first answer."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.control.restart",
        str(folder),
        str(first),
        str(last),
    ]
    began = time.time()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    found["restart_s"] = found.pop("answered_at") - began
    return found
