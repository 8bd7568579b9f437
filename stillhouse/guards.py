"""What a command on a job must find: its owner asks, the job is open, the attempt is under way."""

from stillhouse import jobs
from stillhouse.authorization import owned
from stillhouse.commands import (
    Compressed,
    Decided,
    EffectFailed,
    Planned,
    Renew,
)
from stillhouse.draft import Draft
from stillhouse.entities import (
    JobState,
    Principal,
)
from stillhouse.errors import (
    StaleAttempt,
)
from stillhouse.jobs import State
from stillhouse.rows import (
    DistillationJobRow,
)


def own_job(draft: Draft, who: Principal, id: str) -> DistillationJobRow:
    job = draft.job(id)
    owned(who, job.client_id, id)
    return job


def over(draft: Draft, job_id: str) -> bool:
    return draft.job(job_id).state not in (JobState.ACCEPTED, JobState.RUNNING)


def running(
    draft: Draft, command: Planned | Compressed | Decided | EffectFailed | Renew
) -> DistillationJobRow:
    """The job whose effect this is a result of, if that attempt still runs."""
    job = draft.job(command.job_id)
    current(job, command.node, command.attempt)
    return job


def current(job: DistillationJobRow, node: str, attempt: int) -> jobs.Job:
    """The node, if `attempt` is the one under way; a late answer of an old attempt is refused."""
    found = jobs.get(job.graph, node)
    if found.attempt != attempt or found.state not in (State.RUNNING, State.WAITING_CLIENT):
        raise StaleAttempt(f"{node} is {found.state} in attempt {found.attempt}, not {attempt}")
    return found
