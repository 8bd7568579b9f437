"""Kills without Ray: a child is a shard with its callers; its parent kills it and audits the rest.

Children come from a server process that has imported everything. A journal has so many lives, then
the next begins empty, or each audit would take longer than the one before.
"""

import multiprocessing
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.control.step import NOW, Rows
from benchmarks.control.workload import Client, announced, whole_job
from benchmarks.kills.audit import Auditor, Findings, Story
from benchmarks.kills.devices import CHUNKS
from benchmarks.kills.life import BORN, IDENTITY, Said, live
from cluster.journal import sqlite
from stillhouse import shard
from stillhouse.decisions import Request
from stillhouse.events import JobMoved
from stillhouse.jobs import Move
from stillhouse.rows import DistillationJobRow

LIVES = 25  # of one journal
LONGEST_S = 0.25  # from its birth, before it opens the journal, to the kill
BIRTH_S = 60.0  # for a child to begin
Heard = Callable[[int, Findings], None]


@dataclass(slots=True)
class Killed:
    """How many kills there were and what they left."""

    kills: int = 0
    repeated: int = 0  # requests that a kill left without an answer
    findings: Findings = field(default_factory=Findings)


def kill_bare(
    count: int, seed: int, folder: Path | None = None, heard: Heard = lambda *_: None
) -> Killed:
    """Kill as many children at moments drawn from the seed."""
    killed, chance = Killed(), random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([live.__module__])
    while killed.kills < count:
        with TemporaryDirectory(dir=folder) as place:
            house = House(Path(place) / "shard.sqlite", context, killed.findings)
            for _ in range(min(LIVES, count - killed.kills)):
                killed.repeated += house.kill_after(chance.uniform(0.0, LONGEST_S))
                killed.kills += 1
                heard(killed.kills, killed.findings)
            house.auditor.at_the_end(told)
    return killed


class House:
    """A journal, and who lives on it."""

    def __init__(self, path: Path, context: Any, findings: Findings) -> None:
        sqlite.initialise(path, IDENTITY)
        self.auditor = Auditor(IDENTITY, findings)
        self._path, self._context = path, context
        self._lives = 0
        self._pending: dict[str, tuple[Request, ...]] = {}

    def kill_after(self, seconds: float) -> int:
        """One life, and what it left; how many requests had no answer."""
        self._lives += 1
        here, there = self._context.Pipe(duplex=False)
        given = (self._path, self._lives, dict(self._pending), there)
        child = self._context.Process(target=live, args=given, daemon=True)
        child.start()
        there.close()
        assert self._listen(here, BIRTH_S, until=BORN)
        assert self._listen(here, seconds), f"it ended by itself, {child.exitcode}"
        child.kill()
        self._listen(here, BIRTH_S)
        child.join()
        here.close()
        self.auditor.look(self._path)
        return sum(map(len, self._pending.values()))

    def _listen(self, said: Connection, seconds: float, until: str = "") -> bool:
        """Note what the child says; False once it has ended."""
        deadline = time.monotonic() + seconds
        while said.poll(max(0.0, deadline - time.monotonic())):
            try:
                heard: Said = said.recv()
            except (EOFError, OSError):  # the last word may be half a word
                return False
            if until and heard.caller == until:
                return True
            self._note(heard)
        return not until

    def _note(self, said: Said) -> None:
        if said.answers is None:
            self._pending[said.caller] = said.requests
        else:
            self.auditor.note(self._pending.pop(said.caller), said.answers)


@cache
def undisturbed() -> tuple[Story, Story]:
    """The moves of a client's first job, and of its second, which needs no probes."""
    client, rows = Client.numbered(0), Rows()
    moves_of(rows, [announced(), *client.enrolled()])
    first, second = (whole_job(client, each, CHUNKS, probes=each == 1) for each in (1, 2))
    return moves_of(rows, first), moves_of(rows, second)


def told(job: DistillationJobRow) -> Story:
    """The moves of such a job if nothing disturbs it."""
    first, second = undisturbed()
    return first if "probe" in job.graph else second


def moves_of(rows: Rows, requests: Iterable[Request]) -> Story:
    moves: list[tuple[str, Move]] = []
    for request in requests:
        decision = shard.step(rows, request, NOW)
        rows.update(decision.changed)
        moves += [(e.node, e.move) for e in decision.events if isinstance(e, JobMoved)]
    return tuple(moves)
