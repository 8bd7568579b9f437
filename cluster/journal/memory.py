"""The journal in memory: the contract in its simplest form, for tests and simulations."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.journal.contract import (
    MANY,
    Commit,
    JournalIdentity,
    StoredAnswer,
    StoredEvent,
    StreamEvent,
    check_identity,
)
from stillhouse.decisions import Deadline, Effect, Index, Place, Ready
from stillhouse.entities import JobState
from stillhouse.errors import Conflict, Fenced, JournalMissing, JournalUnavailable
from stillhouse.listing import Filters, Listing, Position


@dataclass(slots=True)
class Volume:
    """What stands for the file: it outlives the journals that are opened on it."""

    identity: JournalIdentity | None = None
    epoch: int = 0
    events: list[StreamEvent] = field(default_factory=list)
    next_event: int = 1
    rows: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[float, StoredAnswer]] = field(default_factory=dict)
    outbox: dict[Place, Effect] = field(default_factory=dict)
    ready: dict[Place, Ready] = field(default_factory=dict)
    due: dict[Place, Deadline] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)  # job -> model name
    listed: dict[str, Listing] = field(default_factory=dict)  # by job
    dead: dict[str, float] = field(default_factory=dict)


def initialise(volume: Volume, identity: JournalIdentity) -> None:
    """Make the journal; Conflict if there is one."""
    if volume.identity is not None:
        raise Conflict("the journal exists")
    volume.identity = identity


class MemoryJournal:
    """A journal over `volume`; opening it fences whoever had it open."""

    def __init__(self, volume: Volume, identity: JournalIdentity) -> None:
        if volume.identity is None:
            raise JournalMissing("the journal was never initialised")
        check_identity(volume.identity, identity)
        volume.epoch += 1
        self._volume, self._epoch = volume, volume.epoch

    def commit(self, batch: Commit) -> None:
        volume = self._volume
        if volume.epoch != self._epoch:
            raise Fenced("another writer has opened the journal")
        keys = [answer.key for answer in batch.answers]
        if len(set(keys)) < len(keys) or not volume.answers.keys().isdisjoint(keys):
            raise JournalUnavailable("an answer's key is taken")
        for stream, data in batch.events:
            volume.events.append(StreamEvent(volume.next_event, stream, batch.now, data))
            volume.next_event += 1
        put(volume.rows, batch.rows)
        self._change(batch.index)
        volume.answers.update({answer.key: (batch.now, answer) for answer in batch.answers})

    def _change(self, index: Index) -> None:
        volume = self._volume
        put(volume.outbox, index.outbox)
        put(volume.ready, index.ready)
        put(volume.due, index.due)
        put(volume.waiting, index.waiting)
        put(volume.dead, index.dead)
        volume.listed.update(index.listed)

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        return {key: self._volume.rows[key] for key in keys if key in self._volume.rows}

    def answers(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        stored = self._volume.answers
        return {key: stored[key][1] for key in keys if key in stored}

    def forget_answers(self, before: float, limit: int) -> int:
        answers = self._volume.answers
        old = [key for key in list(answers)[:limit] if answers[key][0] < before]
        for key in old:
            del answers[key]
        return len(old)

    def outbox(self) -> list[Effect]:
        return list(self._volume.outbox.values())

    def due(self, now: float, limit: int) -> list[Deadline]:
        return sorted(each for each in self._volume.due.values() if each.at <= now)[:limit]

    def ready(self, priority: int, after: str) -> Ready | None:
        every = self._volume.ready.values()
        behind = [each for each in every if each.priority == priority and each.client_id > after]
        return min(behind, key=lambda each: each.client_id, default=None)  # the first of equals

    def waiting(self, model: str, after: str, limit: int) -> list[str]:
        waiting = self._volume.waiting.items()
        return sorted(job for job, name in waiting if name == model and job > after)[:limit]

    def listing(self, filters: Filters, after: Position, limit: int) -> list[str]:
        places = {each.position(): each for each in self._volume.listed.values()}
        found = [at for at, each in places.items() if at < after and filters.let(each)]
        return [at.job_id for at in sorted(found, reverse=True)[:limit]]

    def running_jobs(self, client_id: str, limit: int) -> list[str]:
        listed = self._volume.listed.values()
        found = [
            each
            for each in listed
            if each.client_id == client_id and each.state == JobState.RUNNING
        ]
        return [each.job_id for each in sorted(found, key=Listing.position)[:limit]]

    def dead(self, after: Position, limit: int) -> list[str]:
        places = (Position(at, id) for id, at in self._volume.dead.items())
        return [at.job_id for at in sorted(at for at in places if at < after)[: -limit - 1 : -1]]

    def states(self) -> dict[str, int]:
        return dict(Counter(each.state for each in self._volume.listed.values()))

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        rows = self._volume.rows
        return sorted(key for key in rows if key.startswith(prefix) and key > after)[:limit]

    def story(self, stream: str, after: int = 0, limit: int = MANY) -> list[StoredEvent]:
        events = (each for each in self._volume.events if each.sequence > after)
        return [stored(each) for each in events if each.stream == stream][:limit]

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        events = [each for each in self._volume.events if each.sequence > sequence]
        return [stored(each) for each in events[:limit]]

    def oldest(self, before: float, limit: int) -> list[StreamEvent]:
        return [each for each in self._volume.events[:limit] if each.at < before]

    def forget_events(self, through: int) -> None:
        *older, newest = self._volume.events
        self._volume.events = [each for each in older if each.sequence > through] + [newest]

    def close(self) -> None:
        """Nothing to let go of."""


def put(table: dict[Any, Any], changes: Mapping[Any, Any]) -> None:
    """Later entries stand behind earlier ones; None takes one out."""
    for key, value in changes.items():
        table.pop(key, None)
        if value is not None:
            table[key] = value


def stored(event: StreamEvent) -> StoredEvent:
    return StoredEvent(event.sequence, event.at, event.data)
