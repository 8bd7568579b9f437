"""What has happened, as a shard journals it; the first field names whose story it belongs to."""

from dataclasses import dataclass
from typing import NamedTuple

from stillhouse.codec import Codec
from stillhouse.entities import (
    CentralModel,
    DistillationMetric,
    EdgeModelProfile,
    JobState,
    Plan,
    Priority,
    ProbeResult,
    Verdict,
)
from stillhouse.fleet import FleetPrior, Lesson
from stillhouse.jobs import Job, Move
from stillhouse.rows import DeadLetterRow, DeliveryRow, EnrolmentRow, KeyPair, PrincipalRow


@dataclass(frozen=True, slots=True)
class EnrolmentOpened:
    principal_id: str
    enrolment: EnrolmentRow


@dataclass(frozen=True, slots=True)
class Enrolled:
    principal_id: str
    enrolment_id: str
    principal: PrincipalRow


@dataclass(frozen=True, slots=True)
class KeysAdded:
    client_id: str
    keys: KeyPair


@dataclass(frozen=True, slots=True)
class KeysRevoked:
    client_id: str
    number: int


@dataclass(frozen=True, slots=True)
class ProfileStored:
    profile_id: str
    profile: EdgeModelProfile


@dataclass(frozen=True, slots=True)
class ProfileDeleted:
    profile_id: str
    client_id: str


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    job_id: str
    client_id: str
    asked: str
    profile: EdgeModelProfile
    at: float
    deadline: float
    follows: str | None = None
    inherited: tuple[DistillationMetric, ...] = ()
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class ModelResolved:
    job_id: str
    model: CentralModel


@dataclass(frozen=True, slots=True)
class JobsAdded:
    job_id: str
    jobs: tuple[Job, ...]


class JobMoved(NamedTuple):
    """A transition: one job of the graph changed its state. By far the most frequent event."""

    job_id: str
    node: str
    move: Move
    cause: str
    at: float
    until: float | None = None  # of a lease (START, OFFER, RENEW) or of a pause (RETRY)


@dataclass(frozen=True, slots=True)
class Calibrated:
    job_id: str
    calibration: str  # which networks on how many threads
    probes: tuple[ProbeResult, ...]


@dataclass(frozen=True, slots=True)
class PlanMade:
    job_id: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class DeliveryOpened:
    job_id: str
    delivery: DeliveryRow


@dataclass(frozen=True, slots=True)
class StudentInstalled:
    job_id: str
    delivery_id: str
    report_digest: str


@dataclass(frozen=True, slots=True)
class MetricReported:
    job_id: str
    metric: DistillationMetric


@dataclass(frozen=True, slots=True)
class MetricKept:
    """A metric after the verdict: shown, not judged."""

    job_id: str
    metric: DistillationMetric


@dataclass(frozen=True, slots=True)
class JobFollowed:
    """A metric after the verdict broke the profile, and opened the job `by`."""

    job_id: str
    profile_id: str
    by: str
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Judged:
    job_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class JobClosed:
    job_id: str
    state: JobState
    verdict: Verdict | None
    why: str


@dataclass(frozen=True, slots=True)
class LetterDied:
    """An effect failed for good: a dead letter."""

    job_id: str
    letter: DeadLetterRow


@dataclass(frozen=True, slots=True)
class JobReopened:
    """An operator replays a dead letter: the job goes on where it failed."""

    job_id: str
    letter_id: str
    by: str
    at: float
    deadline: float


@dataclass(frozen=True, slots=True)
class ModelAnnounced:
    name: str
    model: CentralModel


@dataclass(frozen=True, slots=True)
class AliasSet:
    name: str
    alias: str
    version: int


@dataclass(frozen=True, slots=True)
class LessonsLearnt:
    """What devices told of a family, each report once; of the vault alone."""

    family_digest: str
    lessons: tuple[Lesson, ...]


@dataclass(frozen=True, slots=True)
class FleetRead:
    """How far the reports of each shard were counted; of the vault alone."""

    reader: str
    sequences: dict[str, int]


@dataclass(frozen=True, slots=True)
class PriorPublished:
    """An epoch of what the fleet knows of a family."""

    family_digest: str
    prior: FleetPrior


@dataclass(frozen=True, slots=True)
class CursorMoved:
    publisher: str
    sequence: int


EVENTS = Codec(
    EnrolmentOpened,
    Enrolled,
    KeysAdded,
    KeysRevoked,
    ProfileStored,
    ProfileDeleted,
    JobSubmitted,
    ModelResolved,
    JobsAdded,
    JobMoved,
    Calibrated,
    PlanMade,
    DeliveryOpened,
    StudentInstalled,
    MetricReported,
    MetricKept,
    JobFollowed,
    Judged,
    JobClosed,
    LetterDied,
    JobReopened,
    ModelAnnounced,
    AliasSet,
    PriorPublished,
    CursorMoved,
)
