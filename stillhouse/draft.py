"""A decision being written: events as they are decided, and the rows as they will be after them.

`step` works on a draft and never on the rows it was given; the moves of the graph that follow from
one another by themselves (a child is released, started, offered; what stands below a failure is
skipped) are written here, once.
"""

from collections import ChainMap
from collections.abc import Callable
from typing import Any

from stillhouse import jobs
from stillhouse.decisions import Answer, Decision, Effect
from stillhouse.entities import JobState, Verdict
from stillhouse.events import JobClosed, JobMoved, JobsAdded
from stillhouse.evolve import Changes, evolve
from stillhouse.jobs import ON_CLUSTER, Job, Move
from stillhouse.rows import DistillationJobRow, Rows, get
from stillhouse.schedule import lease_s


class Draft:
    """Collects events; `rows` is what they make of the given rows."""

    def __init__(
        self, rows: Rows, now: float, evolve: Callable[[Rows, Any], Changes] = evolve
    ) -> None:
        self._evolve = evolve
        self._changed: dict[str, Any] = {}
        self.rows: Rows = ChainMap(self._changed, rows)  # type: ignore[arg-type]  # read only
        self.now = now
        self.events: list[Any] = []
        self.effects: list[Effect] = []

    def emit(self, event: Any) -> None:
        self._changed.update(self._evolve(self.rows, event))
        self.events.append(event)

    def decision(self, answer: Answer) -> Decision:
        return Decision(tuple(self.events), tuple(self.effects), answer)

    def job(self, id: str) -> DistillationJobRow:
        return get(self.rows, id, DistillationJobRow)

    def add(self, job_id: str, new: tuple[Job, ...]) -> None:
        self.emit(JobsAdded(job_id, new))
        self.advance(job_id)

    def move(self, job_id: str, node: str, move: Move, cause: str) -> None:
        self._move(job_id, node, move, cause)
        self.advance(job_id)

    def advance(self, job_id: str) -> None:
        """All moves that follow by themselves, until none is left."""
        while waiting := list(jobs.releasable(self.job(job_id).graph)):
            for job in waiting:
                self._move(job_id, job.id, Move.RELEASE, _after(job))
                self.begin(job_id, job.id, _after(job))
        while below := list(jobs.doomed(self.job(job_id).graph)):
            for job in below:
                self._move(job_id, job.id, Move.SKIP, "a job that it depends on failed")

    def begin(self, job_id: str, node: str, cause: str) -> None:
        """Start a ready job on the cluster, or offer it to the device."""
        job = self.job(job_id).graph[node]
        on_cluster = job.kind in ON_CLUSTER
        self._move(job_id, node, Move.START if on_cluster else Move.OFFER, cause, lease_s(job))
        if on_cluster:
            self.effects.append(Effect(job_id, node, job.kind, job.attempt + 1))

    def renew(self, job_id: str, node: str, cause: str) -> None:
        job = self.job(job_id).graph[node]
        self._move(job_id, node, Move.RENEW, cause, lease_s(job))

    def close(self, job_id: str, state: JobState, why: str, verdict: Verdict | None = None) -> None:
        """End the distillation job: nothing of it stays open."""
        for job in list(jobs.unfinished(self.job(job_id).graph)):
            self._move(job_id, job.id, Move.CANCEL, why)
        self.emit(JobClosed(job_id, state, verdict, why))

    def _move(
        self, job_id: str, node: str, move: Move, cause: str, lease: float | None = None
    ) -> None:
        until = None if lease is None else self.now + lease
        self.emit(JobMoved(job_id, node, move, cause, self.now, until))


def _after(job: Job) -> str:
    return "after " + ", ".join(job.parents) if job.parents else "nothing to wait for"
