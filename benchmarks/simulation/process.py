"""One shard as a process that can end between any two stages: decide, take, commit, settle, tell.

The order of things is that of `cluster.pipeline` and `actors.job_manager`, whose threads are
replaced by stages that the story lets happen one by one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from actors.desk import Desk, own
from actors.reading import ClientWork, Order, client_work, order
from benchmarks.simulation.cast import identity
from benchmarks.simulation.disk import Disk, Faults
from cluster.journal.contract import Commit
from cluster.journal.memory import Volume
from cluster.store import Batch, Store
from stillhouse import shard
from stillhouse.commands import Announce, EffectFailed
from stillhouse.decisions import Answer, Effect, Overlay, Request
from stillhouse.errors import StillhouseError, Unavailable

Outcome = Answer | StillhouseError
Reply = Callable[[Request, Outcome], None]
IN_FLIGHT = 2
NOTHING = Batch(0.0, Overlay({}))  # what a tick tells: look whether anything is ready
CACHED = 12  # rows: fewer than a story has, so that they are evicted


@dataclass(frozen=True, slots=True)
class Parts:
    """What is put to the test; a test hands over broken ones."""

    rules: Any = shard
    store: type[Store] = Store
    desk: type[Desk] = Desk


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process finds outside itself."""

    now: Callable[[], float]
    written: Callable[[Batch, Commit], None]  # a commit reached the disk
    answered: Reply
    started: Callable[[Effect, Order], None]
    meanwhile: Callable[[], None]  # others may come in while a command of the shard's own waits


class Line:
    """`cluster.pipeline.Pipeline` without its threads."""

    def __init__(self, store: Store, faults: Faults, around: Surroundings) -> None:
        self._store, self._faults, self._around = store, faults, around
        self._waiting: list[tuple[Batch, Sequence[Request], Sequence[Outcome], Reply]] = []
        self._closed: Batch | None = None
        self._committed = False
        self.told: list[Batch] = []

    def post(self, requests: Sequence[Request], reply: Reply, now: float) -> None:
        """Decide; the reply comes once the batch is settled."""
        batch, answers = self._store.decide(requests, now)
        self._waiting.append((batch, requests, answers, reply))

    def apply(self, requests: Sequence[Request], now: float) -> list[Outcome]:
        outcomes: list[Outcome] = []

        def reply(request: Request, outcome: Outcome) -> None:
            outcomes.append(outcome)
            self._around.answered(request, outcome)

        self.post(requests, reply, now)
        while len(outcomes) < len(requests):
            self._around.meanwhile()
            self.advance()
        return outcomes

    def read(self, ask: Callable[[], Any]) -> Any:
        return ask()

    def advance(self) -> bool:
        """The next stage of the batch on its way; False if there is none."""
        self._faults.point()
        if self._closed is None:
            self._closed, self._committed = self._store.take(), False
            if self._closed is None:
                return False
        elif not self._committed:
            self._store.commit(self._closed)
            self._committed = True
        else:
            self._store.settle(self._closed)
            self.told.append(self._closed)
            self._closed = None
        self._reply()
        return True

    def written(self, commit: Commit) -> None:
        assert self._closed is not None
        self._around.written(self._closed, commit)

    def _reply(self) -> None:
        for waiting in [each for each in self._waiting if each[0].settled.is_set()]:
            self._waiting.remove(waiting)
            batch, requests, answers, reply = waiting
            failed = [batch.failure] * len(requests) if batch.failure is not None else answers
            for request, outcome in zip(requests, failed, strict=True):
                reply(request, outcome)


class Process:
    """What `actors.job_manager.JobManager` is, as far as no Ray is needed."""

    def __init__(
        self, index: int, volume: Volume, faults: Faults, around: Surroundings, parts: Parts
    ) -> None:
        self._faults, self._around = faults, around
        self._journal = Disk(
            volume, identity(index), faults, lambda commit: self.line.written(commit)
        )
        self.store = parts.store(parts.rules, self._journal, CACHED)
        self.line = Line(self.store, faults, around)
        self.desk = parts.desk(self.line, self.store, self._journal, IN_FLIGHT)
        self._known: set[Effect] = set()  # started by this process
        self.unsure = True  # what runs is in the outbox alone: now, and after a failed commit
        self.line.told.append(NOTHING)

    def advance(self) -> bool:
        """The next stage of all that is on its way; False if nothing is."""
        if self.line.told:
            self._faults.point()
            self._tell(self.line.told.pop(0))
            return True
        return self.line.advance()

    def work(self, client_id: str) -> ClientWork | None:
        return client_work(self.store, self._journal, client_id)

    def tick(self, feed: Callable[[int], Iterable[tuple[int, Announce]]]) -> None:
        """As the actor's: what cannot be done now is done at the next."""
        try:
            self.desk.expire(self._around.now())
            self.desk.take_up(feed(self.desk.cursor()), self._around.now())
        except Unavailable:
            return
        self.line.told.append(NOTHING)

    def _tell(self, batch: Batch) -> None:
        """What cannot be done now is done after the next commit or tick."""
        if batch.failure is not None:
            self.unsure = True  # it may have been written all the same
            return
        try:
            self.desk.note(batch.events)
            self._start(batch.effects)
            if self.unsure:
                self._start(self.desk.resume())
                self.unsure = False
            self.desk.start_ready(self._around.now())
        except Unavailable:
            return

    def _start(self, started: Iterable[Effect]) -> None:
        for effect in started:
            if effect in self._known:
                continue
            self._known.add(effect)
            try:
                read = self.line.read(partial(order, self.store, effect.job_id))
                self._around.started(effect, read)
            except StillhouseError as error:
                failed = EffectFailed(effect.job_id, effect.node, effect.attempt, repr(error))
                self.line.apply([own(failed)], self._around.now())
