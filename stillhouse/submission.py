"""Steps 1 and 2 of the loop: a job is submitted, and waits for its central model."""

from stillhouse import rounds
from stillhouse.authorization import owned
from stillhouse.catalogue import resolve
from stillhouse.commands import Arrive, Submit
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import (
    DEADLINE_S,
    LONGEST_DEADLINE_S,
    DistillationMetric,
    EdgeModelProfile,
    JobState,
    Principal,
    Priority,
    Role,
)
from stillhouse.errors import Conflict, Forbidden, Invalid, QuotaExceeded
from stillhouse.events import Calibrated, JobSubmitted, ModelResolved
from stillhouse.jobs import Move
from stillhouse.profiles import profile_of
from stillhouse.rows import DistillationJobRow, PrincipalRow, calibration_of, find, get


def submit(draft: Draft, who: Principal, command: Submit) -> Answer:
    owned(who, command.client_id, command.client_id)
    profile = profile_of(draft, who, command.client_id, command.profile_id).profile
    _within(draft, who, command)
    open_job(
        draft,
        command.job_id,
        command.central_model_version,
        profile,
        command.priority,
        command.deadline_s,
    )
    return accepted(draft.job(command.job_id).document(), 202)


def _within(draft: Draft, who: Principal, command: Submit) -> None:
    """Deadline, priority and quota."""
    if not 0 < command.deadline_s <= LONGEST_DEADLINE_S:
        raise Invalid(f"deadline_s: more than 0 and at most {LONGEST_DEADLINE_S:.0f}")
    if command.priority is Priority.HIGH and who.role is Role.CLIENT:
        raise Forbidden("no client puts itself before the others: ask an operator")
    owner = get(draft.rows, command.client_id, PrincipalRow)
    if command.quota is not None and owner.open_jobs >= command.quota:
        raise QuotaExceeded(f"{owner.id} has {owner.open_jobs} open jobs, as many as it may have")


def open_job(
    draft: Draft,
    id: str,
    asked: str,
    profile: EdgeModelProfile,
    priority: Priority = Priority.NORMAL,
    deadline_s: float = DEADLINE_S,
    *,
    follows: str | None = None,
    inherited: tuple[DistillationMetric, ...] = (),
) -> None:
    """A new job on the profile as it is; it begins at once if its central model is there."""
    if find(draft.rows, id, DistillationJobRow) is not None:
        raise Conflict(f"job {id} exists")
    client, deadline = profile.client_id, draft.now + deadline_s
    draft.emit(
        JobSubmitted(id, client, asked, profile, draft.now, deadline, follows, inherited, priority)
    )
    draft.add(id, rounds.opening())
    pin(draft, draft.job(id))


def arrive(draft: Draft, _: Principal, command: Arrive) -> Answer:
    """A waiting job looks again whether its central model is there."""
    pin(draft, draft.job(command.job_id))
    return Answer(204)


def pin(draft: Draft, job: DistillationJobRow) -> None:
    """Pin the model if it is there; until then the job waits."""
    model = resolve(draft.rows, job.asked)
    if job.state is not JobState.ACCEPTED or model is None:
        return
    calibration = calibration_of(job.profile.spec, model)
    known = get(draft.rows, job.client_id, PrincipalRow).calibrations.get(calibration)
    cause = f"{model.name}@{model.version} is available"
    draft.emit(ModelResolved(job.id, model))
    if known:
        draft.emit(Calibrated(job.id, calibration, known))
    for move in (Move.RELEASE, Move.SUCCEED):
        draft.move(job.id, "await_model", move, cause)
    draft.add(job.id, rounds.first_round(calibrated=bool(known)))
