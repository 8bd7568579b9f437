"""Judges the journal that a kill left: against what was acknowledged, and against itself.

The events are evolved anew and the rows held against them; what can happen once must have happened
once; each acknowledged answer must stand under its key, and what it promised in the rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy
from typing import Any

from benchmarks.simulation.ledger import HELD
from benchmarks.storage_run import sound
from cluster.journal.contract import JournalIdentity, StoredAnswer
from cluster.journal.sqlite import SqliteJournal
from cluster.store import to_store
from stillhouse import shard
from stillhouse.decisions import Answer, Request
from stillhouse.errors import StillhouseError
from stillhouse.events import (
    EVENTS,
    DeliveryOpened,
    Enrolled,
    JobClosed,
    JobMoved,
    JobsAdded,
    JobSubmitted,
    Judged,
    MetricReported,
    ModelResolved,
    PlanMade,
    ProfileStored,
    StudentInstalled,
)
from stillhouse.evolve import evolve
from stillhouse.jobs import Move
from stillhouse.rows import DistillationJobRow

PAGE = 1_000
Story = tuple[tuple[str, Move], ...]
ONCE: dict[type, Callable[[Any], object]] = {  # what tells two events of a kind apart
    Enrolled: lambda event: event.principal_id,
    ProfileStored: lambda event: (event.profile_id, event.profile.revision),
    JobSubmitted: lambda event: event.job_id,
    ModelResolved: lambda event: event.job_id,
    JobsAdded: lambda event: (event.job_id, event.jobs[0].id),
    PlanMade: lambda event: (event.job_id, event.plan.round),
    DeliveryOpened: lambda event: event.delivery.id,
    StudentInstalled: lambda event: event.delivery_id,
    MetricReported: lambda event: (event.job_id, event.metric.round),
    Judged: lambda event: (event.job_id, event.verdict),
    JobClosed: lambda event: event.job_id,
}


class Everything(dict[str, Any]):
    """Rows of which none need be loaded."""

    def __missing__(self, _: str) -> None:
        return None


@dataclass(slots=True)
class Findings:
    """What was seen; `lost`, `doubled` and `refused` must be 0."""

    acknowledged: int = 0
    events: int = 0
    transitions: int = 0
    jobs: int = 0  # that came to their end
    lost: int = 0  # acknowledged and not there, there in part, or the journal is damaged
    doubled: int = 0  # happened, or was answered, in two ways
    refused: int = 0  # a request that is always right was not taken
    stories: list[str] = field(default_factory=list)  # of what went wrong

    def wrong(self, kind: str, what: object) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        self.stories.append(f"{kind}: {str(what)[:300]}")


class Auditor:
    """Of one journal, from its beginning; looks at what is new since it last looked."""

    def __init__(self, identity: JournalIdentity, findings: Findings) -> None:
        self.rows, self.findings = Everything(), findings
        self.moves: dict[str, list[tuple[str, Move]]] = {}  # by job
        self._identity = identity
        self._sequence = 0
        self._once: set[object] = set()
        self._answers: dict[str, Answer] = {}
        self._promises: list[tuple[Request, Answer]] = []
        self._new = 0  # of the promises, the first that was not looked at

    def note(
        self, requests: Sequence[Request], answers: Sequence[Answer | StillhouseError]
    ) -> None:
        """Somebody was answered."""
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, StillhouseError):
                self.findings.wrong("refused", (request, answer))
            elif self._answers.setdefault(request.key, answer) != answer:
                self.findings.wrong("doubled", (request, answer))
            else:
                self.findings.acknowledged += 1
                self._promises.append((request, answer))

    def look(self, path: Path) -> None:
        """At a copy: the log that the kill left is for the next life to recover."""
        place = path.with_name("copy.sqlite")
        for suffix in ("", "-wal"):
            if path.with_name(path.name + suffix).exists():
                copy(path.with_name(path.name + suffix), place.with_name(place.name + suffix))
        if not sound(place):
            self.findings.wrong("lost", f"damaged: {path}")
        journal = SqliteJournal(place, self._identity)
        self._rows(journal, set(self._replay(journal)))
        self._kept(journal)
        journal.close()
        for file in place.parent.glob("copy.sqlite*"):
            file.unlink()

    def at_the_end(self, told: Callable[[DistillationJobRow], Story]) -> None:
        """Every promise once more, and each job that has ended: its story is the one of all."""
        for request, answer in self._promises:
            self._holds(request, answer)
        for job in self.rows.values():
            if isinstance(job, DistillationJobRow) and job.verdict is not None:
                self.findings.jobs += 1
                if tuple(self.moves[job.id]) != told(job):
                    self.findings.wrong("doubled", (job.id, self.moves[job.id]))

    def _replay(self, journal: SqliteJournal) -> Iterator[str]:
        """Evolve what is new; the keys of the rows that it changes."""
        while page := journal.events_after(self._sequence, PAGE):
            for stored in page:
                if stored.sequence != self._sequence + 1:
                    self.findings.wrong("lost", f"events before {stored.sequence}")
                self._sequence = stored.sequence
                yield from self._happened(EVENTS.decode(stored.data))

    def _happened(self, event: Any) -> Iterator[str]:
        self.findings.events += 1
        self._count(event)
        try:
            changes = evolve(self.rows, event)
        except StillhouseError as error:
            self.findings.wrong("doubled", (event, error))
        else:
            self.rows.update(changes)
            yield from changes

    def _count(self, event: Any) -> None:
        """What can happen once must not have happened before. A lease is renewed many times."""
        name = ONCE.get(type(event), repr)(event)
        if isinstance(event, JobMoved):
            self.findings.transitions += 1
            self.moves.setdefault(event.job_id, []).append((event.node, event.move))
            attempt = self.rows[event.job_id].graph[event.node].attempt
            name = None if event.move is Move.RENEW else (*event[:3], attempt)
        if name and (type(event), name) in self._once:
            self.findings.wrong("doubled", event)
        self._once.add((type(event), name))

    def _rows(self, journal: SqliteJournal, changed: set[str]) -> None:
        """The rows are what the events make of them, and there are no others."""
        stored = journal.load(changed)
        for key in changed:
            data = stored.get(key)
            if self.rows[key] != (None if data is None else shard.decode(key, data)):
                self.findings.wrong("lost", f"the row {key} is not what its events say")
        here = {key for key, row in self.rows.items() if row is not None}
        if here != set(journal.keys("", "", len(here) + PAGE)):
            self.findings.wrong("lost", "rows without events, or events without rows")

    def _kept(self, journal: SqliteJournal) -> None:
        """What was acknowledged since the last time."""
        new = self._promises[self._new :]
        self._new = len(self._promises)
        stored = journal.answers(request.key for request, _ in new)
        for request, answer in new:
            if not same(stored.get(request.key), to_store(request, answer)):
                self.findings.wrong("lost", (request, answer))
            self._holds(request, answer)

    def _holds(self, request: Request, answer: Answer) -> None:
        held = HELD.get(type(request.command))
        try:
            kept = held is None or held(request.command, answer, self.rows)
        except (AttributeError, KeyError):  # a row that it needs is not there
            kept = False
        if not kept:
            self.findings.wrong("lost", request)


def same(stored: StoredAnswer | None, told: StoredAnswer) -> bool:
    return stored is not None and stored[:3] == told[:3]
