"""Sees what reaches a shard's disk, commit by commit, and judges it (I1, I2, I4, indexes).

It keeps rows of its own, which it evolves from the events alone, and holds against them the rows
and index tables that the commit wrote.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from benchmarks.simulation.process import IN_FLIGHT
from cluster.journal.contract import Commit
from cluster.journal.memory import Volume
from cluster.store import Batch
from stillhouse import shard
from stillhouse.catalogue import resolve
from stillhouse.commands import Announce
from stillhouse.decisions import Deadline, Effect, Ready
from stillhouse.entities import JobState
from stillhouse.errors import StillhouseError
from stillhouse.events import AliasSet, CursorMoved, JobClosed, JobMoved, ModelAnnounced
from stillhouse.evolve import Changes, evolve
from stillhouse.jobs import ON_CLUSTER, OVER, Graph, Job, Move, State
from stillhouse.listing import OPEN
from stillhouse.rows import (
    DeadLetterRow,
    DistillationJobRow,
    PrincipalRow,
    ProfileRow,
    catalogue_key,
)
from stillhouse.schedule import TURN

STARTED = {State.READY, State.RUNNING, State.WAITING_CLIENT, State.SUCCEEDED}
REPLAY = "I4 replay gives the rows"
NEVER = object()  # no row
BEGINS = {Move.RELEASE, Move.START, Move.OFFER}


class Violation(BaseException):
    """An invariant does not hold; `kind` names it, for a shrunk story must break the same.

    No `except Exception` on the way may take it for a bug of its own.
    """

    def __init__(self, kind: str, what: object) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


def must(holds: object, kind: str, *what: object) -> None:
    if not holds:
        raise Violation(kind, what)


class Everything(dict[str, Any]):
    """Rows of which none need be loaded."""

    def __missing__(self, key: str) -> None:
        return None


class Witness:
    """One shard's."""

    def __init__(self, volume: Volume, feed: Callable[[int], list[Announce]]) -> None:
        self.volume, self._feed = volume, feed
        self.rows = Everything(rows_at_the_beginning(volume))
        self.jobs: dict[str, DistillationJobRow] = {}
        self.commits = self.events = self.transitions = 0
        self._hash = hashlib.sha256()
        self._judges: dict[type, Callable[[Any], None]] = {
            DistillationJobRow: self._job,
            PrincipalRow: self._client,
            ProfileRow: self._profile,
            DeadLetterRow: self._letter,
        }

    @property
    def trace(self) -> str:
        """Of every event in its order, with its time."""
        return self._hash.hexdigest()

    def written(self, batch: Batch, commit: Commit) -> None:
        self.commits += 1
        touched: set[str] = set(batch.rows)
        for event, (stream, data) in zip(batch.events, commit.events, strict=True):
            self._hash.update(f"{stream} {commit.now!r} ".encode() + data)
            touched.update(self._happened(event))
        for key in touched:
            must(batch.rows.get(key, NEVER) == self.rows[key], REPLAY, key)
        for key in touched:
            if judge := self._judges.get(type(self.rows[key])):
                judge(self.rows[key])
        must(len(self.volume.outbox) <= IN_FLIGHT, "no more effects run than may")

    # --- events, one by one ---

    def _happened(self, event: Any) -> Changes:
        self.events += 1
        if isinstance(event, JobMoved):
            self.transitions += 1
            self._moved(event, self.rows[event.job_id])
        elif isinstance(event, JobClosed) and event.state is JobState.EXPIRED:
            self.deadline_passed(self.rows[event.job_id])
        elif isinstance(event, CursorMoved):
            self._all_applied(event.sequence)
        try:
            changes = evolve(self.rows, event)
        except StillhouseError as error:
            raise Violation(REPLAY, (event, error)) from error
        self.rows.update(changes)
        self.jobs.update(
            {key: row for key, row in changes.items() if isinstance(row, DistillationJobRow)}
        )
        return changes

    def deadline_passed(self, job: DistillationJobRow) -> None:
        """The clock may have been set back since; the nodes' last moves tell the time."""
        now = max((node.since for node in job.graph.values()), default=job.deadline)
        must(now >= job.deadline, "what is not due does not expire", job.id)

    def _moved(self, event: JobMoved, job: DistillationJobRow) -> None:
        node = job.graph[event.node]
        if event.move in BEGINS:
            states = {job.graph[parent].state for parent in node.parents}
            must(states <= {State.SUCCEEDED}, "I1 parents first", event)
        ran_out = event.move is Move.RETRY and event.cause == "no progress within the lease"
        if ran_out or event.move is Move.QUEUE:
            due = node.until is not None and event.at >= node.until
            must(due, "what is not due does not expire", event)

    def _all_applied(self, sequence: int) -> None:
        """Records behind the cursor, and no others: a commit that seemed to fail may be ahead."""
        behind = Everything()
        for record in self._feed(sequence):
            row = self.rows[catalogue_key(record.name)]
            known = row and (record.model in row.versions or record.alias in row.aliases)
            must(known, "the cursor moves last", record.name, sequence)
            behind.update(evolve(behind, published(record)))
        for job in self.jobs.values():
            waits = job.state is JobState.ACCEPTED and resolve(behind, job.asked)
            must(not waits, "the cursor moves last", job.id, sequence)

    # --- rows, and the index entries that belong to them ---

    def _job(self, job: DistillationJobRow) -> None:
        is_open = job.state in OPEN
        for node in job.graph.values():
            self._node(job, node, is_open)
        in_order(job.graph, job.round)
        deadline = Deadline(job.deadline, job.id, "", 0) if is_open else None
        must(self.volume.due.get((job.id, "")) == deadline, "index of deadlines", job.id)
        waits = self.volume.waiting.get(job.id) is not None
        must(waits == (job.state is JobState.ACCEPTED), "index of waiting jobs", job.id)
        must(self.volume.listed[job.id].state == job.state, "index of lists", job.id)
        must((job.verdict is not None) == (job.state is JobState.ENDED), "a verdict ends", job.id)
        marks = [each.training_time_s for each in (*job.metrics, *job.kept_metrics)]
        must(len(set(marks)) == len(marks), "I4 nothing is applied twice", job.id, marks)

    def _node(self, job: DistillationJobRow, node: Job, is_open: bool) -> None:
        place = (job.id, node.id)
        if node.state in STARTED:
            states = {job.graph[parent].state for parent in node.parents}
            must(states <= {State.SUCCEEDED}, "I1 parents first", place)
        must(is_open or node.state in OVER, "what is over has nothing open", place)
        runs = node.state is State.RUNNING
        effect = Effect(*place, node.kind, node.attempt) if runs else None
        must(self.volume.outbox.get(place) == effect, "index of effects", place)
        until = node.until if node.state not in OVER else None
        due = None if until is None else Deadline(until, *place, node.attempt)
        must(self.volume.due.get(place) == due, "index of deadlines", place)
        queued = node.state is State.READY and node.until is None and node.kind in ON_CLUSTER
        turn = Ready(TURN[job.priority], job.client_id, *place, node.attempt + 1)
        must(self.volume.ready.get(place) == (turn if queued else None), "index of turns", place)

    def _client(self, client: PrincipalRow) -> None:
        mine = [job for job in self.jobs.values() if job.client_id == client.id]
        count = sum(job.state in OPEN for job in mine)
        must(client.open_jobs == count, "open jobs are counted", client.id)

    def _profile(self, row: ProfileRow) -> None:
        mine = [job for job in self.jobs.values() if job.profile.id == row.profile.id]
        count = sum(job.state in OPEN for job in mine)
        must(row.open_jobs == count, "open jobs are counted", row.profile.id)

    def _letter(self, letter: DeadLetterRow) -> None:
        waits = letter.id in self.volume.dead
        must(waits == (letter.replayed_at is None), "index of dead letters", letter.id)


def published(record: Announce) -> ModelAnnounced | AliasSet:
    """The event of a record."""
    if record.model is not None:
        return ModelAnnounced(record.name, record.model)
    assert record.alias is not None
    assert record.version is not None
    return AliasSet(record.name, record.alias, record.version)


def in_order(graph: Graph, rounds: int) -> None:
    """I2: a transfer is open only if the one before it was acknowledged."""
    for round in range(1, rounds + 1):
        before: Job | None = None
        index = 0
        while (node := graph.get(f"r{round}.transfer.{index}")) is not None:
            opened = node.state in STARTED
            acknowledged = before is None or before.state is State.SUCCEEDED
            must(acknowledged or not opened, "I2 acks in order", node.id)
            before, index = node, index + 1


def rows_at_the_beginning(volume: Volume) -> dict[str, Any]:
    return {key: shard.decode(key, data) for key, data in volume.rows.items()}
