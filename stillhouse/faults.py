"""What can end a job early: a failed effect, a lease or deadline that passes, a cancellation."""

from stillhouse.commands import (
    Cancel,
    EffectFailed,
    Expire,
)
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import (
    JobState,
    Principal,
)
from stillhouse.errors import (
    Gone,
    StaleAttempt,
)
from stillhouse.guards import current, over, own_job, running
from stillhouse.jobs import Move
from stillhouse.rows import (
    DistillationJobRow,
)
from stillhouse.schedule import after_failure


def effect_failed(draft: Draft, _: Principal, command: EffectFailed) -> Answer:
    job = running(draft, command)
    _again(draft, job, command.node, command.error)
    return Answer(204)


def _again(draft: Draft, job: DistillationJobRow, node: str, cause: str) -> None:
    """One attempt failed: the next one begins, or the distillation job has failed."""
    move = after_failure(job.graph[node])
    draft.move(job.id, node, move, cause)
    if move is Move.RETRY:
        draft.begin(job.id, node, cause)
    else:
        draft.close(job.id, JobState.FAILED, f"{node} failed: {cause}")


def expire(draft: Draft, _: Principal, command: Expire) -> Answer:
    job = draft.job(command.job_id)
    if over(draft, job.id):
        raise StaleAttempt(f"job {job.id} is over")
    if command.node == "":
        draft.close(job.id, JobState.EXPIRED, "its deadline has passed")
        return Answer(204)
    current(job, command.node, command.attempt)
    _again(draft, job, command.node, "no progress within the lease")
    return Answer(204)


def cancel(draft: Draft, who: Principal, command: Cancel) -> Answer:
    job = own_job(draft, who, command.job_id)
    if job.state is JobState.CANCELLED:
        return accepted(job.document())
    if over(draft, job.id):
        raise Gone(f"job {job.id} is over: {job.state}")
    draft.close(job.id, JobState.CANCELLED, f"cancelled by {who.id}")
    return accepted(draft.job(job.id).document())
