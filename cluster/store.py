"""The heart of an actor: decide and evolve on an overlay, commit, tell.

A batch runs on a copy-on-write overlay of committed rows. Its events, rows, index entries and
answers are one commit; only then does the overlay join the cache, and only then do answers go out
and effects start. A failed commit drops the overlay: nothing of the batch has happened.
"""

import json
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.journal.contract import MANY, Commit, Journal, StoredAnswer
from stillhouse.decisions import Answer, Decision, Effect, Index, NotLoaded, Request, Rules
from stillhouse.errors import Refusal, Replayed, StillhouseError, Unavailable
from stillhouse.listing import Filters, Position


@dataclass(slots=True)
class Applied:
    """What a batch came to: an answer or error for each request, in order, and what to start."""

    answers: list[Answer | StillhouseError] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    changed: list[Any] = field(default_factory=list)  # rows, as committed


@dataclass(slots=True)
class Batch:
    """A batch on its way to the commit."""

    now: float
    rows: dict[str, Any] = field(default_factory=dict)  # the overlay
    events: list[tuple[str, bytes]] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    answers: dict[str, StoredAnswer] = field(default_factory=dict)
    wrote: list[int] = field(default_factory=list)  # places of the requests that left events


class Store:
    """Runs one rule module over one journal. Not for two threads at once."""

    def __init__(self, rules: Rules, journal: Journal) -> None:
        self._rules = rules
        self._journal = journal
        self._cache: dict[str, Any] = {}

    def apply(self, requests: Sequence[Request], now: float) -> Applied:
        """Decide on every request in order and commit once. Refusals change nothing."""
        applied, batch = Applied(), Batch(now)
        for place, request in enumerate(requests):
            applied.answers.append(self._answer(place, request, batch, applied))
        if batch.wrote:
            self._commit(batch, applied)
        return applied

    def rows(self, keys: Iterable[str]) -> dict[str, Any]:
        """Committed rows by key; None for a key that has none."""
        wanted = list(keys)
        self._load(wanted)
        return {key: self._cache[key] for key in wanted}

    def story(
        self, stream: str, after: int = 0, limit: int = MANY
    ) -> list[tuple[int, float, bytes]]:
        """(sequence, time, event) of what was committed of a stream, oldest first."""
        return list(self._journal.story(stream, after, limit))

    def listing(self, filters: Filters, after: Position, limit: int) -> list[Any]:
        """Rows of the jobs that pass, newest first."""
        ids = self._journal.listing(filters, after, limit)
        return list(self.rows(ids).values())

    def keyed(self, prefix: str, after: str, limit: int) -> list[Any]:
        """Rows whose keys begin with `prefix`, in order, those above `after`."""
        return list(self.rows(self._journal.keys(prefix, after, limit)).values())

    def _answer(
        self, place: int, request: Request, batch: Batch, applied: Applied
    ) -> Answer | StillhouseError:
        try:
            if stored := batch.answers.get(request.key) or self._journal.answer(request.key):
                return repeated(stored, request)
            decision = self._decide(request, batch)
        except (Refusal, Unavailable) as error:
            return error
        if decision.events:
            self._record(decision, batch)
            batch.answers[request.key] = to_store(request, decision.answer)
            batch.wrote.append(place)
            applied.effects += decision.effects
            applied.events += decision.events
        return decision.answer

    def _decide(self, request: Request, batch: Batch) -> Decision:
        keys: frozenset[str] = self._rules.reads(request)
        while True:
            self._load(keys)
            try:
                return self._rules.step(ChainMap(batch.rows, self._cache), request, batch.now)
            except NotLoaded as missing:
                keys = missing.keys

    def _record(self, decision: Decision, batch: Batch) -> None:
        """Evolve the overlay by the decision's events; the next request of the batch sees it."""
        rows: Mapping[str, Any] = ChainMap(batch.rows, self._cache)
        for event in decision.events:
            batch.rows.update(self._rules.evolve(rows, event))
            batch.indexes.append(self._rules.index(rows, event))
            batch.events.append((self._rules.stream(event), self._rules.encode_event(event)))

    def _commit(self, batch: Batch, applied: Applied) -> None:
        encoded = {
            key: None if row is None else self._rules.encode(row) for key, row in batch.rows.items()
        }
        commit = Commit(
            batch.now,
            tuple(batch.events),
            encoded,
            tuple(batch.indexes),
            tuple(batch.answers.values()),
        )
        try:
            self._journal.commit(commit)
        except Unavailable as error:
            self._drop(batch, applied, error)
        else:
            self._cache.update(batch.rows)
            applied.changed = [row for row in batch.rows.values() if row is not None]

    def _drop(self, batch: Batch, applied: Applied, error: Unavailable) -> None:
        """Nothing of the batch has happened; later requests may have seen what was dropped."""
        first = batch.wrote[0]
        applied.answers[first:] = [error] * (len(applied.answers) - first)
        applied.effects.clear()
        applied.events.clear()
        # Fenced, another writer's rows are the truth now; and a commit that failed at its last
        # fsync may be found on disk after all.
        self._cache.clear()

    def _load(self, keys: Iterable[str]) -> None:
        missing = [key for key in keys if key not in self._cache]
        if missing:
            found = self._journal.load(missing)
            for key in missing:
                data = found.get(key)
                self._cache[key] = None if data is None else self._rules.decode(key, data)


def repeated(stored: StoredAnswer, request: Request) -> Answer:
    """The answer of the first time; Replayed if the key was used for something else."""
    if stored.digest != request.digest:
        raise Replayed("this idempotency key belongs to another request")
    return Answer(stored.status, **json.loads(stored.data))


def to_store(request: Request, answer: Answer) -> StoredAnswer:
    data = json.dumps({"document": answer.document, "headers": answer.headers}).encode()
    return StoredAnswer(request.key, request.digest, answer.status, data)
