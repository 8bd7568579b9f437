"""The journal in memory: the contract in its simplest form, for tests and simulations."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.journal.contract import (
    MANY,
    Commit,
    Deadline,
    JournalIdentity,
    StoredAnswer,
    StoredEvent,
    check_identity,
)
from stillhouse.decisions import Effect, Index
from stillhouse.errors import Conflict, Fenced, JournalMissing, JournalUnavailable
from stillhouse.listing import Filters, Listing, Position


@dataclass(slots=True)
class Volume:
    """What stands for the file: it outlives the journals that are opened on it."""

    identity: JournalIdentity | None = None
    epoch: int = 0
    events: list[tuple[str, StoredEvent]] = field(default_factory=list)  # (stream, event)
    rows: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[float, StoredAnswer]] = field(default_factory=dict)
    outbox: dict[tuple[str, str], Effect] = field(default_factory=dict)
    due: dict[tuple[str, str], Deadline] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)  # job -> model name
    listed: dict[str, Listing] = field(default_factory=dict)  # by job


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
            event = StoredEvent(len(volume.events) + 1, batch.now, data)
            volume.events.append((stream, event))
        for key, row in batch.rows.items():
            if row is None:
                volume.rows.pop(key, None)
            else:
                volume.rows[key] = row
        for index in batch.indexes:
            self._change(index)
        volume.answers.update({answer.key: (batch.now, answer) for answer in batch.answers})

    def _change(self, index: Index) -> None:
        volume = self._volume
        for place in index.done:
            volume.outbox.pop(place, None)
        for place in index.met:
            volume.due.pop(place, None)
        for job in index.arrived:
            volume.waiting.pop(job, None)
        for effect in index.outbox:
            place = (effect.job_id, effect.node)
            volume.outbox.pop(place, None)  # to the end of the line
            volume.outbox[place] = effect
        for at, job, node, attempt in index.due:
            volume.due[job, node] = Deadline(at, job, node, attempt)
        for model, job in index.waiting:
            volume.waiting[job] = model
        for listing in index.listed:
            volume.listed[listing.job_id] = listing

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        return {key: self._volume.rows[key] for key in keys if key in self._volume.rows}

    def answer(self, key: str) -> StoredAnswer | None:
        _, answer = self._volume.answers.get(key, (0, None))
        return answer

    def forget_answers(self, before: float) -> None:
        answers = self._volume.answers
        self._volume.answers = {key: kept for key, kept in answers.items() if kept[0] >= before}

    def outbox(self) -> list[Effect]:
        return list(self._volume.outbox.values())

    def due(self, now: float, limit: int) -> list[Deadline]:
        return sorted(each for each in self._volume.due.values() if each.at <= now)[:limit]

    def waiting(self, model: str, after: str, limit: int) -> list[str]:
        waiting = self._volume.waiting.items()
        return sorted(job for job, name in waiting if name == model and job > after)[:limit]

    def listing(self, filters: Filters, after: Position, limit: int) -> list[str]:
        places = {
            Position(each.submitted_at, each.job_id): each for each in self._volume.listed.values()
        }
        found = [at for at, each in places.items() if at < after and filters.let(each)]
        return [at.job_id for at in sorted(found, reverse=True)[:limit]]

    def states(self) -> dict[str, int]:
        return dict(Counter(each.state for each in self._volume.listed.values()))

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        rows = self._volume.rows
        return sorted(key for key in rows if key.startswith(prefix) and key > after)[:limit]

    def story(self, stream: str, after: int = 0, limit: int = MANY) -> list[StoredEvent]:
        events = self._volume.events[after:]
        return [event for name, event in events if name == stream][:limit]

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        return [event for _, event in self._volume.events[sequence : sequence + limit]]

    def close(self) -> None:
        """Nothing to let go of."""
