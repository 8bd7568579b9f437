"""After the verdict a device may go on measuring: every metric is kept, and the first that breaks
the profile opens a new distillation job, linked to the old one.

It breaks the profile as it stands now by more than noise explains (`clearly_missed`): sizes at all,
latency and energy beyond LATENCY_SLACK, accuracy by its standard error. In simulation that is a
false alarm for 1.3 % of the metrics of students that truly hold, and finds a loss of five points
in 47 % of them; two standard errors would find it in 15 %.

The new job takes over what its student costs now: one that has become too slow is not planned
again. It does not take over the accuracy: the student was not trained on what the device has seen
since, and training again, which needs no new bytes, may be all that it takes.
"""

from stillhouse.catalogue import resolve
from stillhouse.draft import Draft
from stillhouse.entities import CentralModel, DistillationMetric, Entity, VerdictKind
from stillhouse.events import JobFollowed, MetricKept
from stillhouse.ids import derived_id
from stillhouse.limits import NAMES, accuracy_floor, clearly_missed
from stillhouse.rows import DistillationJobRow, ProfileRow, calibration_of, find
from stillhouse.schedule import FOLLOW_UP_S
from stillhouse.submission import open_job


class MetricReceipt(Entity):
    """What became of a metric."""

    kept: bool  # it came after the verdict
    opened_job: str | None = None
    why: str


def keep(draft: Draft, job: DistillationJobRow, metric: DistillationMetric) -> MetricReceipt:
    """Keep a metric of a job that has ended; open a job if it shows the profile to be broken."""
    draft.emit(MetricKept(job.id, metric))
    row = find(draft.rows, job.profile.id, ProfileRow)
    obstacle = _obstacle(draft.now, job, row, metric)
    if row is None or obstacle:
        return MetricReceipt(kept=True, why=obstacle)
    floor = accuracy_floor(row.profile.spec, _model(job).accuracy)
    broken = clearly_missed(row.profile.spec, floor, metric)
    if not broken:
        return MetricReceipt(
            kept=True, why=f"{metric.student} is within the profile, but for noise"
        )
    limits = " and ".join(NAMES[constraint] for constraint in broken)
    why = f"{metric.student} is no longer within its limits of {limits}"
    return MetricReceipt(kept=True, opened_job=_follow(draft, job, row, metric, why), why=why)


def _obstacle(
    now: float, job: DistillationJobRow, row: ProfileRow | None, metric: DistillationMetric
) -> str:
    """Why the metric can open no job whatever it says; empty if it can."""
    verdict = job.verdict
    if verdict is None or verdict.kind is not VerdictKind.MET or verdict.student != metric.student:
        return f"the job did not end with {metric.student} meeting the profile"
    if row is None:
        return "the profile was deleted"
    if row.open_jobs:
        return "a job is at work on this profile already"
    if row.last_ended != job.id:
        return f"job {row.last_ended} gave this profile a verdict since"
    if row.followed_at is not None and now - row.followed_at < FOLLOW_UP_S:
        return "a metric opened a job for this profile less than a day ago"
    return ""


def _follow(
    draft: Draft, old: DistillationJobRow, row: ProfileRow, metric: DistillationMetric, why: str
) -> str:
    """The new job's id: the same model as it was asked for, on the profile as it is now."""
    id = derived_id("job", old.id, draft.job(old.id).kept)
    model = resolve(draft.rows, old.asked)
    same_device = model is not None and calibration_of(row.profile.spec, model) == calibration_of(
        old.profile.spec, _model(old)
    )
    draft.emit(JobFollowed(old.id, row.profile.id, id, why, draft.now))
    inherited = (metric,) if same_device else ()
    open_job(draft, id, old.asked, row.profile, old.priority, follows=old.id, inherited=inherited)
    return id


def _model(job: DistillationJobRow) -> CentralModel:
    assert job.model is not None  # noqa: S101  a verdict comes after the model
    return job.model
