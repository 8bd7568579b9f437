"""What a shard lets go of, a page at a time: old events go to an archive first, old answers at all.

Rows stay: what a job is now, its row says; how it came to be, the archive says a month later
(Parquet, one file a page, columns sequence, stream, at, data).
"""

from itertools import islice
from math import inf
from pathlib import Path
from typing import Protocol

from cluster.journal.archive import archive_events, archived_events
from cluster.journal.contract import Journal, StoredEvent
from cluster.pipeline import Pipeline

EVERY_S = 60.0  # between two looks
PAGE = 5_000  # runs of events, or answers, in one transaction


class Kept(Protocol):
    """For how long; settings say so."""

    @property
    def events_kept_s(self) -> float: ...
    @property
    def answers_kept_s(self) -> float: ...
    @property
    def state(self) -> Path: ...


class Retention:
    """Of one publisher's journal."""

    def __init__(self, pipeline: Pipeline, journal: Journal, publisher: str, kept: Kept) -> None:
        self._pipeline, self._journal, self._publisher = pipeline, journal, publisher
        self._kept, self._archives = kept, kept.state / "archive"
        self._archived = 0  # the last sequence that this process put there
        self._next = 0.0

    def turn(self, now: float) -> None:
        """Let go of one page, if the last turn was a while ago or left more behind."""
        if now >= self._next:
            more = self._archive(now) + self._forget(now) >= PAGE
            self._next = now if more else now + EVERY_S

    def story(self, stream: str, after: int, limit: int) -> list[StoredEvent]:
        """A story's events above a sequence, oldest first, those in the archive included."""
        first = self._pipeline.read(lambda: self._journal.oldest(inf, 1))
        found: list[StoredEvent] = []
        if first and after + 1 < first[0].sequence and self._archives.is_dir():
            old = archived_events(self._archives, self._publisher, stream, after)
            found = [StoredEvent(each.sequence, each.at, each.data) for each in islice(old, limit)]
        last = found[-1].sequence if found else after
        left = limit - len(found)
        return found + self._pipeline.read(lambda: self._journal.story(stream, last, left))

    def _archive(self, now: float) -> int:
        before = now - self._kept.events_kept_s
        first = self._pipeline.read(lambda: self._journal.oldest(before, 2))
        if not first or first[-1].sequence <= self._archived:
            return 0  # the newest run of all stays in the journal: once in the archive is enough
        old = self._pipeline.read(lambda: self._journal.oldest(before, PAGE))
        archive_events(old, self._archives, self._publisher)
        through = old[-1].sequence
        self._pipeline.between(lambda: self._journal.forget_events(through))
        self._archived = through
        return len(old)

    def _forget(self, now: float) -> int:
        before = now - self._kept.answers_kept_s
        return self._pipeline.between(lambda: self._journal.forget_answers(before, PAGE))
