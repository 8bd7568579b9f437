"""The heart of an actor: decide on an overlay, commit, tell.

What is decided goes into the open batch, whose overlay lies over the batch that is on its way to
the disk, and this over the committed rows. `take` closes the open batch; its events, rows, index
entries and answers are one commit, which another thread may make while the next batch is decided
on. Only then does the overlay join the cache, and only then do answers go out and effects start. A
failed commit drops its batch and the one decided on top of it: nothing has happened.
"""

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.journal.contract import MANY, Commit, Journal, StoredAnswer
from stillhouse.decisions import (
    Answer,
    Decision,
    Effect,
    Index,
    NotLoaded,
    Overlay,
    Request,
    Rules,
)
from stillhouse.errors import (
    Defect,
    JournalUnavailable,
    Refusal,
    Replayed,
    StillhouseError,
    Unavailable,
)
from stillhouse.listing import Filters, Position

CACHED = 20_000  # rows that stay in memory
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Applied:
    """What requests came to: an answer or error for each, in order, and what to start."""

    answers: list[Answer | StillhouseError] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    changed: list[Any] = field(default_factory=list)  # rows, as committed


@dataclass(slots=True)
class Batch:
    """What one commit makes durable, and what is told after it."""

    now: float
    rows: Overlay
    encoded: dict[str, tuple[Any, bytes | None]] = field(default_factory=dict)  # row and its bytes
    stories: list[tuple[str, bytes]] = field(default_factory=list)  # the events, encoded
    events: list[Any] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    index: Index = field(default_factory=Index)
    answers: dict[str, StoredAnswer] = field(default_factory=dict)
    changed: list[Any] = field(default_factory=list)  # rows, once it is committed
    failure: Unavailable | None = None
    settled: threading.Event = field(default_factory=threading.Event)

    def encode(self, rules: Rules) -> None:
        """What was decided since the last call, as bytes: work that no commit has to wait for."""
        for event in self.events[len(self.stories) :]:
            self.stories.append((rules.stream(event), rules.encode_event(event)))
        for key, row in self.rows.items():
            if key not in self.encoded or self.encoded[key][0] is not row:
                self.encoded[key] = (row, None if row is None else rules.encode(row))

    def commit(self) -> Commit:
        """The transaction, once the batch is closed."""
        return Commit(
            self.now,
            tuple(self.stories),
            {key: data for key, (_, data) in self.encoded.items()},
            self.index,
            tuple(self.answers.values()),
        )


class Store:
    """Runs one rule module over one journal. One thread at a time; commits may be another's."""

    def __init__(self, rules: Rules, journal: Journal, cached: int = CACHED) -> None:
        self._rules, self._journal, self._cached = rules, journal, cached
        self._cache: dict[str, Any] = {}  # the least recently used comes first
        self._closed: Batch | None = None  # on its way to the disk
        self._open: Batch | None = None

    # --- a batch on its way: decide, take, commit, settle ---

    def decide(
        self, requests: Sequence[Request], now: float
    ) -> tuple[Batch, list[Answer | StillhouseError]]:
        """Decide on every request in order. The answers are true once the batch is settled."""
        below = self._closed.rows if self._closed else self._cache
        batch = self._open = self._open or Batch(now, Overlay(below))
        keys = [request.key for request in requests if request.key]
        try:
            stored = self._journal.answers(keys) if keys else {}
        except Unavailable as error:
            return batch, [error] * len(requests)
        answers = [self._answer(request, batch, stored, now) for request in requests]
        try:
            batch.encode(self._rules)
        except Exception as error:  # nobody can say whose: nothing of the batch happens
            log.exception("a bug in the codec")
            batch.failure = JournalUnavailable(f"{type(error).__name__} at the encoding")
        return batch, answers

    def take(self) -> Batch | None:
        """Close the open batch, for its commit; None if nothing was decided since the last."""
        self._closed, self._open = self._open, None
        return self._closed

    def commit(self, batch: Batch) -> None:
        """Make a closed batch durable, if there is anything to it. May run in another thread."""
        if batch.events and batch.failure is None:
            try:
                self._journal.commit(batch.commit())
            except Unavailable as error:
                batch.failure = error
            except Exception as error:
                log.exception("a bug at the commit")
                batch.failure = JournalUnavailable(f"{type(error).__name__} at the commit")

    def settle(self, batch: Batch) -> None:
        """The closed batch was committed, or has failed with what lies on top of it."""
        if batch.failure is not None:
            self._drop(batch.failure)
            return
        self._closed = None
        self._keep(batch.rows)
        batch.changed = [row for row in batch.rows.values() if row is not None]
        if self._open is not None:
            self._open.rows.below = self._cache
        self._evict()
        batch.settled.set()

    def apply(self, requests: Sequence[Request], now: float) -> Applied:
        """Decide and commit, in this thread. Refusals change nothing."""
        batch, answers = self.decide(requests, now)
        self.take()
        self.commit(batch)
        self.settle(batch)
        if batch.failure is not None:
            return Applied([batch.failure] * len(requests))
        return Applied(answers, batch.effects, batch.events, batch.changed)

    # --- reads ---

    def rows(self, keys: Iterable[str]) -> dict[str, Any]:
        """Committed rows by key; None for a key that has none."""
        wanted = list(keys)
        self._load(wanted)
        found = {key: self._cache[key] for key in wanted}
        self._evict()
        return found

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

    # --- deciding ---

    def _answer(
        self, request: Request, batch: Batch, stored: Mapping[str, StoredAnswer], now: float
    ) -> Answer | StillhouseError:
        try:
            if request.key and (before := self._before(request.key, stored)):
                return repeated(before, request)
            decision = self._decide(request, batch, now)
        except (Refusal, Unavailable) as error:
            return error
        except Exception as error:  # of this command alone: the others of its batch go on
            log.exception("a bug in the rules, at %s", type(request.command).__name__)
            return Defect(f"{type(error).__name__} at {type(request.command).__name__}")
        if decision.events:
            self._record(request, decision, batch)
        return decision.answer

    def _before(self, key: str, stored: Mapping[str, StoredAnswer]) -> StoredAnswer | None:
        """The answer that was given under this key, or will be once its batch is committed."""
        for batch in (self._open, self._closed):
            if batch is not None and key in batch.answers:
                return batch.answers[key]
        return stored.get(key)

    def _decide(self, request: Request, batch: Batch, now: float) -> Decision:
        keys: frozenset[str] = self._rules.reads(request)
        while True:
            self._load(keys)
            try:
                return self._rules.step(batch.rows, request, now)
            except NotLoaded as missing:
                keys = missing.keys

    def _record(self, request: Request, decision: Decision, batch: Batch) -> None:
        """The next request sees what this one decided."""
        batch.rows.update(decision.changed)
        batch.events += decision.events
        batch.effects += decision.effects
        batch.index.update(decision.index)
        if request.key:
            batch.answers[request.key] = to_store(request, decision.answer)

    def _drop(self, failure: Unavailable) -> None:
        """Nothing of what was decided since has happened; its callers try again."""
        for batch in (self._closed, self._open):
            if batch is not None:
                batch.failure = failure
                batch.effects.clear()
                batch.events.clear()
                batch.settled.set()
        self._closed = self._open = None
        # Fenced, another writer's rows are the truth now; and a commit that failed at its last
        # fsync may be found on disk after all.
        self._cache.clear()

    # --- the cache: committed rows, as many as are worth their memory ---

    def _load(self, keys: Iterable[str]) -> None:
        cache, missing = self._cache, []
        for key in keys:
            if key in cache:
                cache[key] = cache.pop(key)  # to the end of the line
            else:
                missing.append(key)
        if missing:
            found = self._journal.load(missing)
            for key in missing:
                data = found.get(key)
                cache[key] = None if data is None else self._rules.decode(key, data)

    def _keep(self, rows: Mapping[str, Any]) -> None:
        for key, row in rows.items():
            self._cache.pop(key, None)  # to the end of the line
            self._cache[key] = row

    def _evict(self) -> None:
        """Let go of what was not used for longest; all that is here is on the disk, too."""
        surplus = len(self._cache) - self._cached
        if surplus > 0:
            for key in list(self._cache)[:surplus]:
                del self._cache[key]


def repeated(stored: StoredAnswer, request: Request) -> Answer:
    """The answer of the first time; Replayed if the key was used for something else."""
    if stored.digest != request.digest:
        raise Replayed("this idempotency key belongs to another request")
    return Answer(stored.status, **json.loads(stored.data))


def to_store(request: Request, answer: Answer) -> StoredAnswer:
    if answer.document is None and answer.headers is None:
        return StoredAnswer(request.key, request.digest, answer.status, b"{}")
    data = json.dumps({"document": answer.document, "headers": answer.headers}).encode()
    return StoredAnswer(request.key, request.digest, answer.status, data)
