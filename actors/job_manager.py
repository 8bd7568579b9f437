"""JobManager: one shard's mailbox. Decide and evolve on an overlay, commit, tell; no logic here.

The rules are `stillhouse.shard`; batches and their commits are `cluster.pipeline`; what the shard
does by itself is `actors.desk`. Many calls wait here side by side for the same commit. Effects
start after it and come back as commands.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import ray

from actors import effects
from actors.desk import Desk, own
from actors.reading import ClientWork, FleetReports, client_work, fleet_reports, order
from actors.retention import Retention
from actors.settings import VAULT, ActorSettings
from cluster.journal.contract import JournalIdentity
from cluster.journal.sqlite import SqliteJournal
from cluster.metrics import Metrics
from cluster.pipeline import Pipeline
from cluster.store import Batch, Store
from stillhouse import shard as rules
from stillhouse.commands import EffectFailed
from stillhouse.decisions import Answer, Effect, Overlay, Place, Request
from stillhouse.entities import Principal
from stillhouse.errors import Fenced, StillhouseError, Unavailable
from stillhouse.events import JobMoved
from stillhouse.grants import Grant, grant
from stillhouse.jobs import Move
from stillhouse.listing import Filters, Position
from stillhouse.observations import observations
from stillhouse.rows import DeadLetterRow, DeliveryRow, DistillationJobRow, get

CHANGES = 100_000  # clients whose last change is remembered
NOTHING = Batch(0.0, Overlay({}))  # what a tick tells: look whether anything is ready
log = logging.getLogger(__name__)


def identity(settings: ActorSettings, shard: int) -> JournalIdentity:
    return JournalIdentity(settings.cluster_id, f"shard-{shard}", settings.shards)


class JobManager:
    """One shard: its clients' keys, profiles, jobs, deliveries and metrics."""

    def __init__(self, settings: ActorSettings, shard: int) -> None:
        self._settings = settings
        self._me = ray.get_runtime_context().current_actor
        path = settings.state / f"shard-{shard}.sqlite"
        self._journal = SqliteJournal(path, identity(settings, shard))
        self._store = Store(rules, self._journal, settings.cached_rows)
        self._changes = Changes()
        self._metrics = Metrics(f"shard-{shard}", self._journal.states())
        self._tasks: dict[Place, tuple[Effect, Any]] = {}  # what this process started
        self._unsure = True  # what runs is in the outbox alone: now, and after a failed commit
        self._news: queue.SimpleQueue[tuple[Batch, float]] = queue.SimpleQueue()
        self._pipeline = Pipeline(self._store, lambda *told: self._news.put(told))
        self._desk = Desk(self._pipeline, self._store, self._journal, settings.effects_in_flight)
        self._retention = Retention(self._pipeline, self._journal, f"shard-{shard}", settings)
        self._ticking = threading.Lock()
        threading.Thread(target=self._tell_forever, name="tell", daemon=True).start()
        tick_forever(settings.tick_s)

    def apply(self, requests: Sequence[Request]) -> list[Answer | StillhouseError]:
        """Decide on a batch; answers come after the commit, effects start after it."""
        answers = self._pipeline.apply(requests, time.time())
        if any(isinstance(answer, Fenced) for answer in answers):
            log.critical("another writer has opened the journal: this one ends")
            ray.actor.exit_actor()  # type: ignore[no-untyped-call]
        return answers

    def ask(self, questions: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Several reads in one call, each by its method's name; an error is its own's answer."""
        return [self._answer(*question) for question in questions]

    def _answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return READS[method](self, *arguments)
        except StillhouseError as error:
            return error

    def rows(self, keys: Sequence[str]) -> dict[str, Any]:
        """Committed rows; None for a key that has none."""
        return self._pipeline.read(lambda: self._store.rows(keys))

    def work(self, client_id: str) -> ClientWork | None:
        """A client's oldest running jobs with what its work items are made of."""
        return self._pipeline.read(lambda: client_work(self._store, self._journal, client_id))

    def story(self, stream: str, after: int, limit: int) -> list[tuple[int, float, bytes]]:
        """Events of a job, profile, delivery or client above a sequence, oldest first."""
        return list(self._retention.story(stream, after, limit))

    def listing(self, filters: Filters, after: Position, limit: int) -> list[DistillationJobRow]:
        """Jobs of this shard that pass, newest first."""
        return self._pipeline.read(lambda: self._store.listing(filters, after, limit))

    def dead_letters(self, after: Position, limit: int) -> list[DeadLetterRow]:
        """Dead letters of this shard that wait for a replay, newest first."""

        def found() -> list[DeadLetterRow]:
            return list(self._store.rows(self._journal.dead(after, limit)).values())

        return self._pipeline.read(found)

    def fleet_reports(self, after: int) -> FleetReports:
        """What devices reported behind this sequence number, for the fleet's prior."""
        return self._pipeline.read(lambda: fleet_reports(self._store, self._journal, after))

    def changed(self, cursor: str) -> tuple[str, tuple[str, ...] | None]:
        """The new cursor and the clients that changed since `cursor`; None if all may have."""
        return self._changes.since(cursor)

    def grant(self, who: Principal, delivery_id: str, index: int) -> Grant:
        """May this client fetch this chunk now? Asked by a chunk server, once a chunk."""
        delivery = get(self.rows([delivery_id]), delivery_id, DeliveryRow)
        job = get(self.rows([delivery.job_id]), delivery.job_id, DistillationJobRow)
        return grant(delivery, job, who, index, time.time())

    def tick(self) -> None:
        """Apply what the vault published, move on what is due, forget what nobody asks for."""
        with self._ticking:  # the vault's nudge is a tick, too
            self._desk.expire(time.time())
            vault = ray.get_actor(VAULT, self._settings.namespace)
            records: Any = ray.get(vault.feed.remote(self._desk.cursor()))
            self._desk.take_up(records, time.time())
            self._news.put((NOTHING, 0.0))
            self._retention.turn(time.time())

    def ready(self) -> int:
        """Answers once the journal is open; this process's id, for whoever kills it in a test."""
        return os.getpid()

    # --- after a commit ---

    def _tell_forever(self) -> None:
        """What follows a commit, in the order of the commits and beside the next ones."""
        self._news.put((NOTHING, 0.0))
        while True:
            batch, took = self._news.get()
            try:
                self._tell(batch, took)
            except Unavailable:  # what cannot be done now is done after the next commit or tick
                log.warning("after a commit", exc_info=True)
            except Exception:  # the effect is in the outbox, and its lease ends
                log.exception("after a commit")

    def _tell(self, batch: Batch, took: float) -> None:
        if batch.failure is not None:
            self._unsure = True  # it may have been written all the same: the next tick looks
            return
        if batch.events:
            self._metrics.committed(took)
            self._metrics.record(observations(batch.events, batch.changed))
            self._changes.note(batch.changed)
            self._desk.note(batch.events)
            self._forget(batch.events)
            self._start(batch.effects)
        if self._unsure:
            self._start(self._desk.resume())
            self._unsure = False
        self._desk.start_ready(time.time())

    def _start(self, started: Sequence[Effect]) -> None:
        for effect in started:
            place = (effect.job_id, effect.node)
            if place in self._tasks and self._tasks[place][0] == effect:
                continue
            try:
                read = self._pipeline.read(partial(order, self._store, effect.job_id))
                task = effects.start(effect, read, self._settings, self._me)
                self._tasks[place] = (effect, task)
            except Exception as error:  # its next attempt comes after a pause
                log.warning("%s of %s did not start", effect.node, effect.job_id, exc_info=True)
                failed = EffectFailed(effect.job_id, effect.node, effect.attempt, repr(error)[:500])
                self._pipeline.apply([own(failed)], time.time())

    def _forget(self, events: Sequence[Any]) -> None:
        """Tasks of nodes that are over; what was cancelled is stopped, if this process knows it.

        A restarted actor knows none: then the late result is refused, as any of an old attempt.
        """
        for event in events:
            if isinstance(event, JobMoved) and event.move not in (Move.START, Move.RENEW):
                _, task = self._tasks.pop((event.job_id, event.node), (None, None))
                if task is not None and event.move is Move.CANCEL:
                    effects.stop(task, event, self._settings)


READS: Mapping[str, Callable[..., Any]] = {
    "rows": JobManager.rows,
    "work": JobManager.work,
    "changed": JobManager.changed,
}


class Changes:
    """Which clients changed since when, in memory alone: a restart says that all may have.

    Clients in the order of their last change, the newest last; the oldest are let go.
    """

    def __init__(self, kept: int = CHANGES) -> None:
        self._born = f"{time.time_ns():x}"
        self._kept = kept
        self._sequence = 0
        self._forgotten = 0  # up to here nobody can say who changed
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, changed: Sequence[Any]) -> None:
        clients = {row.client_id for row in changed if hasattr(row, "client_id")}
        if not clients:
            return
        with self._lock:
            self._sequence += 1
            for client in clients:
                self._last.pop(client, None)
                self._last[client] = self._sequence
            for client in list(self._last)[: max(0, len(self._last) - self._kept)]:
                self._forgotten = self._last.pop(client)

    def since(self, cursor: str) -> tuple[str, tuple[str, ...] | None]:
        with self._lock:
            now = f"{self._born}-{self._sequence}"
            born, _, after = cursor.partition("-")
            known = born == self._born and after.isdecimal() and int(after) >= self._forgotten
            if not known:
                return now, None
            newest = reversed(self._last.items())
            return now, tuple(id for id, _ in takewhile(lambda each: each[1] > int(after), newest))


def tick_forever(period_s: float) -> None:
    """Put a `tick` into this actor's own mailbox, again and again, one at a time."""
    me = ray.get_runtime_context().current_actor

    def beat() -> None:
        while True:
            time.sleep(period_s)
            try:
                ray.get(me.tick.remote())
            except ray.exceptions.RayError:
                continue  # the vault restarts, or we shut down: the next beat tries again

    threading.Thread(target=beat, name="tick", daemon=True).start()
