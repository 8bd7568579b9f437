"""A decision being written: events as they are decided, and the rows as they will be after them.

`step` works on a draft and never on the rows it was given; the moves of the graph that follow from
one another by themselves (a child is released, started, offered; what stands below a failure is
skipped) are written here, once.
"""

from collections.abc import Callable, Sequence
from typing import Any

from stillhouse import jobs
from stillhouse.decisions import Answer, Decision, Effect, Index, Overlay
from stillhouse.entities import JobState, Verdict
from stillhouse.events import JobClosed, JobMoved, JobsAdded
from stillhouse.evolve import Changes, evolve, evolve_moves, index
from stillhouse.jobs import ON_DEVICE, Job, Move
from stillhouse.rows import DistillationJobRow, Rows, get
from stillhouse.schedule import lease_s, pause_s


class Draft:
    """Collects events; `rows` is what they make of the given rows."""

    def __init__(
        self,
        rows: Rows,
        now: float,
        evolve: Callable[[Rows, Any], Changes] = evolve,
        index: Callable[[Rows, Any, Index], None] = index,
    ) -> None:
        self._evolve, self._index_of = evolve, index
        self._index = Index()
        self.rows = Overlay(rows)
        self.now = now
        self.events: list[Any] = []
        self.effects: list[Effect] = []

    def emit(self, event: Any) -> None:
        self.rows.update(self._evolve(self.rows, event))
        self._index_of(self.rows, event, self._index)
        self.events.append(event)

    def decision(self, answer: Answer) -> Decision:
        return Decision(
            tuple(self.events), tuple(self.effects), answer, dict(self.rows), self._index
        )

    def job(self, id: str) -> DistillationJobRow:
        return get(self.rows, id, DistillationJobRow)

    def add(self, job_id: str, new: tuple[Job, ...]) -> None:
        self.emit(JobsAdded(job_id, new))
        graph = self.job(job_id).graph
        self._release(job_id, [job for job in new if jobs.released(graph, job)])

    def move(self, job_id: str, node: str, move: Move, cause: str) -> None:
        """Move a node, and all that follows by itself."""
        self._move(job_id, node, move, cause)
        if move is Move.SUCCEED:
            self._release(job_id, jobs.releasable(self.job(job_id).graph, node))
        elif move is Move.FAIL:
            while below := list(jobs.doomed(self.job(job_id).graph)):
                for job in below:
                    self._move(job_id, job.id, Move.SKIP, "a job that it depends on failed")

    def _release(self, job_id: str, free: Sequence[Job]) -> None:
        """They wait for nothing: on the cluster for a turn, a device is offered them at once."""
        moves: list[JobMoved] = []
        for job in free:
            cause = "after " + ", ".join(job.parents)
            moves.append(JobMoved(job_id, job.id, Move.RELEASE, cause, self.now))
            if job.kind in ON_DEVICE:
                until = self.now + lease_s(job)
                moves.append(JobMoved(job_id, job.id, Move.OFFER, cause, self.now, until))
        self._emit_moves(moves)

    def _emit_moves(self, moves: Sequence[JobMoved]) -> None:
        """Several moves of one job, as one change of its row."""
        if moves:
            self.rows.update(evolve_moves(self.rows, moves))
            for move in moves:
                self._index_of(self.rows, move, self._index)
            self.events += moves

    def start(self, job_id: str, job: Job) -> None:
        """Its turn has come: the effect starts once this is committed."""
        self._move(job_id, job.id, Move.START, "its turn", lease_s(job))
        self.effects.append(Effect(job_id, job.id, job.kind, job.attempt + 1))

    def renew(self, job_id: str, job: Job, cause: str) -> None:
        self._move(job_id, job.id, Move.RENEW, cause, lease_s(job))

    def retry(self, job_id: str, job: Job, cause: str) -> None:
        """The next attempt: of a device at once, of the cluster after a pause."""
        if job.kind in ON_DEVICE:
            until = self.now + lease_s(job)
            again = JobMoved(job_id, job.id, Move.OFFER, cause, self.now, until)
            self._emit_moves([JobMoved(job_id, job.id, Move.RETRY, cause, self.now), again])
        else:
            self._move(job_id, job.id, Move.RETRY, cause, pause_s(job))

    def close(self, job_id: str, state: JobState, why: str, verdict: Verdict | None = None) -> None:
        """End the distillation job: nothing of it stays open."""
        left = jobs.unfinished(self.job(job_id).graph)
        self._emit_moves([JobMoved(job_id, job.id, Move.CANCEL, why, self.now) for job in left])
        self.emit(JobClosed(job_id, state, verdict, why))

    def _move(
        self, job_id: str, node: str, move: Move, cause: str, lasts: float | None = None
    ) -> None:
        until = None if lasts is None else self.now + lasts
        self.emit(JobMoved(job_id, node, move, cause, self.now, until))
