"""Steps 1 and 2 of the loop: a job is submitted, and waits for its central model."""

from stillhouse import rounds
from stillhouse.authorization import owned
from stillhouse.catalogue import resolve
from stillhouse.commands import Arrive, Submit
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import (
    CentralModel,
    DistillationMetric,
    EdgeModelProfile,
    JobState,
    Principal,
    ProfileSpec,
    digest_of,
)
from stillhouse.errors import Conflict
from stillhouse.events import Calibrated, JobSubmitted, ModelResolved
from stillhouse.jobs import Move
from stillhouse.profiles import profile_of
from stillhouse.rows import DistillationJobRow, PrincipalRow, find, get
from stillhouse.schedule import DEADLINE_S


def submit(draft: Draft, who: Principal, command: Submit) -> Answer:
    owned(who, command.client_id, command.client_id)
    profile = profile_of(draft, who, command.client_id, command.profile_id).profile
    open_job(draft, command.job_id, command.central_model_version, profile)
    return accepted(draft.job(command.job_id).document(), 202)


def open_job(
    draft: Draft,
    id: str,
    asked: str,
    profile: EdgeModelProfile,
    follows: str | None = None,
    inherited: tuple[DistillationMetric, ...] = (),
) -> None:
    """A new job on the profile as it is; it begins at once if its central model is there."""
    if find(draft.rows, id, DistillationJobRow) is not None:
        raise Conflict(f"job {id} exists")
    deadline = draft.now + DEADLINE_S
    client = profile.client_id
    draft.emit(JobSubmitted(id, client, asked, profile, draft.now, deadline, follows, inherited))
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


def calibration_of(spec: ProfileSpec, model: CentralModel) -> str:
    """What a calibration depends on: the networks' shapes, and how many threads run them."""
    return digest_of([model.architecture.model_dump(), spec.cpu_cores])
