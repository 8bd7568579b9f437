"""What a shard can be asked to do. Ids, keys and drawn secrets come in as fields, never from here.

The first group comes from clients and people through the API, the second from the cluster's own
effects, feed and clock.
"""

from dataclasses import dataclass

from stillhouse.entities import (
    DEADLINE_S,
    CentralModel,
    DistillationMetric,
    Plan,
    Priority,
    ProbeResult,
    ProfileSpec,
    Role,
    Verdict,
)
from stillhouse.fleet import FleetPrior, Lesson
from stillhouse.rows import DeliveryRow, KeyPair


@dataclass(frozen=True, slots=True)
class Enrol:
    enrolment_id: str
    role: Role
    keys: KeyPair
    holdings: tuple[str, ...]
    challenge: str  # hexadecimal
    sealed_challenge: str  # to the receive key, hexadecimal


@dataclass(frozen=True, slots=True)
class ConfirmEnrolment:
    enrolment_id: str
    challenge: str


@dataclass(frozen=True, slots=True)
class AddKeys:
    """The number in `keys` is ignored: the next free one is given."""

    client_id: str
    keys: KeyPair


@dataclass(frozen=True, slots=True)
class RevokeKeys:
    client_id: str
    number: int


@dataclass(frozen=True, slots=True)
class CreateProfile:
    client_id: str
    profile_id: str
    spec: ProfileSpec


@dataclass(frozen=True, slots=True)
class ReplaceProfile:
    client_id: str
    profile_id: str
    spec: ProfileSpec
    revision: int | None  # If-Match


@dataclass(frozen=True, slots=True)
class DeleteProfile:
    client_id: str
    profile_id: str
    revision: int | None


@dataclass(frozen=True, slots=True)
class Submit:
    job_id: str
    client_id: str
    central_model_version: str
    profile_id: str
    priority: Priority = Priority.NORMAL
    deadline_s: float = DEADLINE_S  # from now on
    quota: int | None = None  # open jobs that the client may have


@dataclass(frozen=True, slots=True)
class Cancel:
    job_id: str


@dataclass(frozen=True, slots=True)
class ReplayDeadLetter:
    letter_id: str


@dataclass(frozen=True, slots=True)
class ReportProbes:
    job_id: str
    attempt: int
    probes: tuple[ProbeResult, ...]


@dataclass(frozen=True, slots=True)
class ReportProgress:
    client_id: str
    job_id: str
    node: str
    attempt: int
    share: float  # of the work, 0 to 1
    done: bool


@dataclass(frozen=True, slots=True)
class ReportMetrics:
    job_id: str
    metric: DistillationMetric


@dataclass(frozen=True, slots=True)
class Acknowledge:
    delivery_id: str
    index: int
    ack: str  # hexadecimal


@dataclass(frozen=True, slots=True)
class ReportInstallation:
    delivery_id: str
    manifest_digest: str
    version: int
    probe_answers: tuple[tuple[float, ...], ...]


# --- from the cluster itself --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """A version or alias from the vault's feed, before the jobs that wait for it are told."""

    name: str
    model: CentralModel | None = None
    alias: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class AnnouncePrior:
    """An epoch of what the fleet knows of a family, from the vault's feed."""

    prior: FleetPrior


@dataclass(frozen=True, slots=True)
class LearnFromFleet:
    """What the shards' reports between two places of their journals tell; of the vault."""

    read_from: dict[str, int]  # shard -> sequence, as the vault has them
    read_to: dict[str, int]
    lessons: dict[str, tuple[Lesson, ...]]  # by family


Record = Announce | AnnouncePrior  # of the vault's feed


@dataclass(frozen=True, slots=True)
class Arrive:
    """One waiting job looks again whether its central model is there."""

    job_id: str


@dataclass(frozen=True, slots=True)
class MoveCursor:
    sequence: int


@dataclass(frozen=True, slots=True)
class Start:
    """A ready node's turn on the cluster has come."""

    job_id: str
    node: str
    attempt: int  # the one that starts


@dataclass(frozen=True, slots=True)
class Renew:
    """An effect or a transfer goes on: its lease begins anew."""

    job_id: str
    node: str
    attempt: int
    progress: str


@dataclass(frozen=True, slots=True)
class Planned:
    job_id: str
    node: str
    attempt: int
    outcome: Plan | Verdict


@dataclass(frozen=True, slots=True)
class Compressed:
    job_id: str
    node: str
    attempt: int
    delivery: DeliveryRow


@dataclass(frozen=True, slots=True)
class Decided:
    job_id: str
    node: str
    attempt: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class EffectFailed:
    job_id: str
    node: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class Expire:
    """A lease or pause is over (`node`), or the distillation job's deadline (`node` empty)."""

    job_id: str
    node: str
    attempt: int
