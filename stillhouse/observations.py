"""What is counted of a batch's events: the one place where events become metrics.

No client, job or delivery has a series of its own: tags take their values from small closed sets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from stillhouse.entities import JobState
from stillhouse.events import JobClosed, JobMoved, JobSubmitted, ModelResolved
from stillhouse.rows import DistillationJobRow
from stillhouse.versions import TableStored

JOBS = "jobs"  # distillation jobs by state
TRANSITIONS = "transitions"  # moves of jobs of the graph
VERDICTS = "verdicts"
ROUNDS = "rounds"  # of a job that is over
FAMILIES = "families"
BYTES_SENT = "bytes_sent"


@dataclass(frozen=True, slots=True)
class Observation:
    """`value` more of a series: a metric and the values of its tags."""

    metric: str
    tags: tuple[str, ...] = ()
    value: int = 1


class Change(NamedTuple):
    """An event, and the job it belongs to as the batch left it."""

    event: Any
    job: DistillationJobRow | None


def observations(events: Iterable[Any], changed: Iterable[Any]) -> list[Observation]:
    """What a batch adds to each series; `changed` are the rows that its events left."""
    jobs = {row.id: row for row in changed if isinstance(row, DistillationJobRow)}
    found = (Change(event, jobs.get(getattr(event, "job_id", ""))) for event in events)
    return [observation for change in found for observation in observed(change)]


def observed(change: Change) -> Iterator[Observation]:
    match change:
        case Change(JobMoved(node=node, move=move), DistillationJobRow(graph=graph)):
            yield Observation(TRANSITIONS, (graph[node].kind, move))
        case Change(JobSubmitted()):
            yield Observation(JOBS, (JobState.ACCEPTED,))
        case Change(ModelResolved()):
            yield from moved(JobState.ACCEPTED, JobState.RUNNING)
        case Change(JobClosed() as event, DistillationJobRow() as job):
            yield from closed(event, job)
        case Change(TableStored()):
            yield Observation(FAMILIES)


def closed(event: JobClosed, job: DistillationJobRow) -> Iterator[Observation]:
    """A job's end, with its verdict if it has one."""
    yield from moved(JobState.RUNNING if job.model else JobState.ACCEPTED, event.state)
    yield Observation(ROUNDS, value=job.round)
    if event.verdict:
        yield Observation(VERDICTS, (event.verdict.kind,))


def moved(before: JobState, after: JobState) -> Iterator[Observation]:
    yield Observation(JOBS, (before,), -1)
    yield Observation(JOBS, (after,))
