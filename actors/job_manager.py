"""JobManager: one shard's mailbox. Decide and evolve on an overlay, commit, tell; no logic here.

The rules are `stillhouse.shard`; the overlay and the commit are `cluster.store`. Effects start
after the commit and come back as commands. The outbox says at start what a crash left undone.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import ray

from actors import effects
from actors.settings import VAULT, ActorSettings
from cluster.journal.contract import JournalIdentity
from cluster.journal.sqlite import SqliteJournal
from cluster.metrics import Metrics
from cluster.store import Store
from stillhouse import shard as rules
from stillhouse.commands import Announce, Arrive, Expire, MoveCursor
from stillhouse.decisions import Answer, Effect, Request
from stillhouse.entities import SYSTEM, Principal
from stillhouse.errors import StillhouseError
from stillhouse.events import JobMoved
from stillhouse.grants import Grant, grant
from stillhouse.jobs import Move
from stillhouse.listing import Filters, Position
from stillhouse.observations import observations
from stillhouse.rows import CURSOR, DeliveryRow, DistillationJobRow, PrincipalRow, get

PAGE = 500  # waiting jobs told of a model, or deadlines expired, in one batch
SCHEMA = 2


def identity(settings: ActorSettings, shard: int) -> JournalIdentity:
    return JournalIdentity(settings.cluster_id, f"shard-{shard}", settings.shards, SCHEMA)


class JobManager:
    """One shard: its clients' keys, profiles, jobs, deliveries and metrics."""

    def __init__(self, settings: ActorSettings, shard: int) -> None:
        self._settings = settings
        path = settings.state / f"shard-{shard}.sqlite"
        self._journal = SqliteJournal(path, identity(settings, shard))
        self._store = Store(rules, self._journal)
        self._changes = Changes()
        self._metrics = Metrics(f"shard-{shard}", self._journal.states())
        self._tasks: dict[tuple[str, str], Any] = {}  # effects that run, by (job, node)
        self._start(self._journal.outbox())
        tick_forever(settings.tick_s)

    def apply(self, requests: Sequence[Request]) -> list[Answer | StillhouseError]:
        """Decide on a batch; answers come after the commit, effects start after it."""
        began = time.perf_counter()
        applied = self._store.apply(requests, time.time())
        if applied.events:
            self._metrics.committed(time.perf_counter() - began)
            self._metrics.record(observations(applied.events, applied.changed))
        self._changes.note(applied.changed)
        self._forget(applied.events)
        self._start(applied.effects)
        return applied.answers

    def rows(self, keys: Sequence[str]) -> dict[str, Any]:
        """Committed rows; None for a key that has none."""
        return self._store.rows(keys)

    def story(self, stream: str, after: int, limit: int) -> list[tuple[int, float, bytes]]:
        """Events of a job, profile, delivery or client above a sequence, oldest first."""
        return self._store.story(stream, after, limit)

    def listing(self, filters: Filters, after: Position, limit: int) -> list[DistillationJobRow]:
        """Jobs of this shard that pass, newest first."""
        return self._store.listing(filters, after, limit)

    def changed(self, cursor: str) -> tuple[str, tuple[str, ...] | None]:
        """The new cursor and the clients that changed since `cursor`; None if all may have."""
        return self._changes.since(cursor)

    def grant(self, who: Principal, delivery_id: str, index: int) -> Grant:
        """May this client fetch this chunk now? Asked by a chunk server, once a chunk."""
        delivery = get(self.rows([delivery_id]), delivery_id, DeliveryRow)
        job = get(self.rows([delivery.job_id]), delivery.job_id, DistillationJobRow)
        return grant(delivery, job, who, index, time.time())

    def tick(self) -> None:
        """Apply what the vault published, and expire what is due."""
        self._pull()
        self._expire()

    def ready(self) -> int:
        """Answers once the journal is open; this process's id, for whoever kills it in a test."""
        return os.getpid()

    def _start(self, started: Sequence[Effect]) -> None:
        me = ray.get_runtime_context().current_actor
        for effect in started:
            job = get(self.rows([effect.job_id]), effect.job_id, DistillationJobRow)
            owner = get(self.rows([job.client_id]), job.client_id, PrincipalRow)
            previous = self._previous_manifest(job)
            task = effects.start(effect, job, owner, previous, self._settings, me)
            self._tasks[effect.job_id, effect.node] = task

    def _forget(self, events: Sequence[Any]) -> None:
        """Tasks of nodes that are over; what was cancelled is stopped, if this process knows it.

        A restarted actor knows none: then the late result is refused, as any of an old attempt.
        """
        for event in events:
            if isinstance(event, JobMoved) and event.move is not Move.START:
                task = self._tasks.pop((event.job_id, event.node), None)
                if task is not None and event.move is Move.CANCEL:
                    effects.stop(task, event, self._settings)

    def _previous_manifest(self, job: DistillationJobRow) -> str | None:
        if not job.deliveries:
            return None
        last = job.deliveries[-1]
        return get(self.rows([last]), last, DeliveryRow).envelope_digest

    def _pull(self) -> None:
        vault = ray.get_actor(VAULT, self._settings.namespace)
        cursor = self._store.rows([CURSOR])[CURSOR]
        after = cursor.sequence if cursor else 0
        records: Any = ray.get(vault.feed.remote(after))
        for sequence, announcement in records:
            self._announce(sequence, announcement)

    def _announce(self, sequence: int, announcement: Announce) -> None:
        """A record first, then the jobs that wait for it, page by page; last the cursor."""
        feed = f"feed/{sequence}"
        self.apply([system(feed, announcement)])
        last = ""
        while page := self._journal.waiting(announcement.name, last, PAGE):
            self.apply([system(f"{feed}/{id}", Arrive(id)) for id in page])
            last = page[-1]
        self.apply([system(f"{feed}/cursor", MoveCursor(sequence))])

    def _expire(self) -> None:
        late = self._journal.due(time.time(), PAGE)
        expired = [
            system(
                f"expire/{d.job_id}/{d.node}/{d.attempt}/{d.at}",
                Expire(d.job_id, d.node, d.attempt),
            )
            for d in late
        ]
        if expired:
            self.apply(expired)


class Changes:
    """Which clients changed since when, in memory alone: a restart says that all may have."""

    def __init__(self) -> None:
        self._born = f"{time.time_ns():x}"
        self._sequence = 0
        self._last: dict[str, int] = {}

    def note(self, changed: Sequence[Any]) -> None:
        clients = {row.client_id for row in changed if hasattr(row, "client_id")}
        if clients:
            self._sequence += 1
            self._last.update(dict.fromkeys(clients, self._sequence))

    def since(self, cursor: str) -> tuple[str, tuple[str, ...] | None]:
        now = f"{self._born}-{self._sequence}"
        born, _, sequence = cursor.partition("-")
        if born != self._born or not sequence.isdecimal():
            return now, None
        return now, tuple(id for id, at in self._last.items() if at > int(sequence))


def system(key: str, command: Any) -> Request:
    """A command of the cluster's own, with a key that its repeat has too."""
    return Request(key, key, SYSTEM, command)


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
