"""What happens beside the loop: turns and leases, failed effects, deadlines, cancellation, replay.

An effect that failed for good fails its distillation job and is a dead letter; nothing of the job
is lost, and an operator's replay takes it up where it failed.
"""

from stillhouse import jobs
from stillhouse.commands import (
    Cancel,
    EffectFailed,
    Expire,
    Renew,
    ReplayDeadLetter,
    Start,
)
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import (
    DEADLINE_S,
    JobState,
    Principal,
)
from stillhouse.errors import (
    Conflict,
    Gone,
    StaleAttempt,
)
from stillhouse.events import JobReopened, LetterDied
from stillhouse.guards import over, own_job, running
from stillhouse.ids import derived_id
from stillhouse.jobs import Job, Move, State
from stillhouse.rows import (
    DeadLetterRow,
    DistillationJobRow,
    ProfileRow,
    find,
    get,
)
from stillhouse.schedule import after_failure


def start(draft: Draft, _: Principal, command: Start) -> Answer:
    node = jobs.get(draft.job(command.job_id).graph, command.node)
    if node.state is not State.READY or node.attempt + 1 != command.attempt:
        raise StaleAttempt(f"{node.id} is {node.state}: attempt {command.attempt} cannot start")
    draft.start(command.job_id, node)
    return Answer(204)


def renew(draft: Draft, _: Principal, command: Renew) -> Answer:
    """Bytes are on their way, or a task runs: nothing expires while it does."""
    job = running(draft, command)
    draft.renew(job.id, job.graph[command.node], command.progress)
    return Answer(204)


def effect_failed(draft: Draft, _: Principal, command: EffectFailed) -> Answer:
    job = running(draft, command)
    _again(draft, job, job.graph[command.node], command.error)
    return Answer(204)


def _again(draft: Draft, job: DistillationJobRow, node: Job, cause: str) -> None:
    """One attempt failed: there will be another, or the distillation job has failed."""
    if after_failure(node) is Move.RETRY:
        draft.retry(job.id, node, cause)
        return
    draft.move(job.id, node.id, Move.FAIL, cause)
    letter = derived_id("dlt", job.id, node.id, node.attempt)
    row = DeadLetterRow(letter, job.client_id, job.id, node.id, node.attempt, cause, draft.now)
    draft.emit(LetterDied(job.id, row))
    draft.close(job.id, JobState.FAILED, f"{node.id} failed: {cause}")


def replay_dead_letter(draft: Draft, who: Principal, command: ReplayDeadLetter) -> Answer:
    """The job goes on where it failed, with as many attempts again and a new deadline."""
    letter = get(draft.rows, command.letter_id, DeadLetterRow)
    if letter.replayed_at is not None:
        raise Conflict(f"dead letter {letter.id} was replayed already")
    job = draft.job(letter.job_id)
    if find(draft.rows, job.profile.id, ProfileRow) is None:
        raise Conflict(f"profile {job.profile.id} of job {job.id} was deleted")
    deadline = max(job.deadline, draft.now + DEADLINE_S)
    draft.emit(JobReopened(job.id, letter.id, who.id, draft.now, deadline))
    draft.move(job.id, letter.node, Move.REPLAY, f"replayed by {who.id}")
    return accepted(draft.job(job.id).document())


def expire(draft: Draft, _: Principal, command: Expire) -> Answer:
    """What was due has come; refused if it was put off since."""
    job = draft.job(command.job_id)
    if over(draft, job.id):
        raise StaleAttempt(f"job {job.id} is over")
    if command.node == "":
        _out_of_time(draft, job)
        return Answer(204)
    node = jobs.get(job.graph, command.node)
    if node.attempt != command.attempt or node.until is None or draft.now < node.until:
        raise StaleAttempt(f"{node.id} is {node.state} in attempt {node.attempt}, and not due")
    if node.state is State.READY:
        draft.move(job.id, node.id, Move.QUEUE, "the next attempt")
    else:
        _again(draft, job, node, "no progress within the lease")
    return Answer(204)


def _out_of_time(draft: Draft, job: DistillationJobRow) -> None:
    if draft.now < job.deadline:
        raise StaleAttempt(f"the deadline of job {job.id} was put off")
    draft.close(job.id, JobState.EXPIRED, "its deadline has passed")


def cancel(draft: Draft, who: Principal, command: Cancel) -> Answer:
    job = own_job(draft, who, command.job_id)
    if job.state is JobState.CANCELLED:
        return accepted(job.document())
    if over(draft, job.id):
        raise Gone(f"job {job.id} is over: {job.state}")
    draft.close(job.id, JobState.CANCELLED, f"cancelled by {who.id}")
    return accepted(draft.job(job.id).document())
