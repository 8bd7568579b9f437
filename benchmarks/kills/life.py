"""One life of a shard, until it is killed: the real journal, store, pipeline and desk, without Ray.

Threads play devices and the cluster's effects. Each says what it sends before it sends it, and what
it was answered once `apply` has returned. First of all it repeats, under the same keys, what its
predecessor had sent and had no answer to.
"""

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from actors.desk import Desk
from benchmarks.control.workload import Client
from benchmarks.kills.devices import Device, result_of
from benchmarks.makers import model
from cluster.journal.contract import JournalIdentity
from cluster.journal.sqlite import SqliteJournal
from cluster.pipeline import Pipeline
from cluster.store import Batch, Store
from stillhouse import shard
from stillhouse.commands import Announce
from stillhouse.decisions import Answer, Effect, Overlay, Request
from stillhouse.errors import StillhouseError

RULES: Any = shard
IDENTITY = JournalIdentity("kills", "shard-0", 1)
CLIENTS = tuple(Client.numbered(number) for number in range(12))
DEVICES, EFFECTS = 3, 2  # threads
IN_FLIGHT = 6  # fewer than there are clients: some wait for their turn
TICK_S, IDLE_S = 0.01, 0.002
TOGETHER = 4  # results of effects in one call, at most
BORN = "born"  # said before the journal is opened
NOTHING = Batch(0.0, Overlay({}))


class Said(NamedTuple):
    """`caller` sends requests, or has been answered."""

    caller: str
    requests: tuple[Request, ...] = ()
    answers: tuple[Answer | StillhouseError, ...] | None = None


Pending = Mapping[str, tuple[Request, ...]]  # by caller: sent, not answered


def live(path: Path, number: int, pending: Pending, said: Connection) -> None:
    """Run until killed; `number` is which life it is, the first being 1."""
    said.send(Said(BORN))
    Life(path, pending, said).run(number)


class Life:
    """A shard and its callers."""

    def __init__(self, path: Path, pending: Pending, said: Connection) -> None:
        self._pending, self._said = pending, said
        self._saying = threading.Lock()
        journal = SqliteJournal(path, IDENTITY)
        self._store = Store(RULES, journal)
        self._told: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._effects: queue.SimpleQueue[Effect] = queue.SimpleQueue()
        self._pipeline = Pipeline(self._store, lambda batch, _: self._told.put(batch))
        self._desk = Desk(self._pipeline, self._store, journal, IN_FLIGHT)

    def run(self, number: int) -> None:
        start(self._tell, "tell")
        for each in range(EFFECTS):
            start(partial(self._perform, f"effects-{each}"), "effects")
        for each in range(DEVICES):
            devices = [Device(client) for client in CLIENTS[each::DEVICES]]
            start(partial(self._play, f"device-{each}", devices), "device")
        self._tick(number)

    def _tick(self, number: int) -> None:
        """The feed has grown by one since the last life."""
        feed = [(1, Announce("wrist", model=model()))]
        feed += [(1 + n, Announce("wrist", alias=f"a{n}", version=1)) for n in range(1, number)]
        while True:
            time.sleep(TICK_S)
            cursor = self._desk.cursor()
            self._desk.take_up([each for each in feed if each[0] > cursor], time.time())
            self._desk.expire(time.time())
            self._told.put(NOTHING)

    def _tell(self) -> None:
        for effect in self._desk.resume():
            self._effects.put(effect)
        while True:
            batch = self._told.get()
            self._desk.note(batch.events)
            for effect in batch.effects:
                self._effects.put(effect)
            self._desk.start_ready(time.time())

    def _perform(self, name: str) -> None:
        """The cluster's effects: nothing to do, and a result."""
        self._repeat(name)
        by_id = {client.principal.id: client for client in CLIENTS}
        while True:
            effects = [self._effects.get()]
            while len(effects) < TOGETHER and not self._effects.empty():
                effects.append(self._effects.get())
            rows = self._read([effect.job_id for effect in effects])
            self._ask(name, [result_of(by_id, rows[each.job_id], each.node) for each in effects])

    def _play(self, name: str, devices: Sequence[Device]) -> None:
        self._repeat(name)
        while True:
            keys = [key for each in devices for key in (each.client.profile_id, each.job_id)]
            rows = self._read(keys)
            requests = [request for each in devices for request in each.next(rows)]
            if requests:
                self._ask(name, requests)
            else:
                time.sleep(IDLE_S)

    def _repeat(self, name: str) -> None:
        if requests := self._pending.get(name):
            self._ask(name, requests)

    def _ask(self, name: str, requests: Sequence[Request]) -> None:
        self._say(Said(name, tuple(requests)))
        answers = self._pipeline.apply(requests, time.time())
        self._say(Said(name, answers=tuple(answers)))

    def _read(self, keys: Sequence[str]) -> dict[str, Any]:
        return self._pipeline.read(lambda: self._store.rows(keys))

    def _say(self, said: Said) -> None:
        with self._saying:
            self._said.send(said)


def start(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=fatal, args=(work,), name=name, daemon=True).start()


def fatal(work: Callable[[], None]) -> None:
    """A bug in one thread ends the process: its parent sees that it was not the one who did."""
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
