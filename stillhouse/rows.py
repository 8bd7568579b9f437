"""The rows that a shard keeps, all immutable, each under a key of its own.

One client's keys, profiles, jobs and deliveries live in one shard. What the vault publishes is
copied into `CatalogueRow`s, so that `step` never asks another actor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from stillhouse.codec import Blob, Codec
from stillhouse.decisions import NotLoaded
from stillhouse.entities import (
    CentralModel,
    DistillationJob,
    DistillationMetric,
    EdgeModelProfile,
    JobState,
    KnowledgeChunk,
    Plan,
    Priority,
    ProbeResult,
    ProfileSpec,
    Role,
    Verdict,
    digest_of,
)
from stillhouse.errors import NotFound
from stillhouse.fleet import FleetPrior
from stillhouse.jobs import Job


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The public halves of a principal's keys, hexadecimal; `number` stands in its keyid."""

    number: int
    sign: str  # Ed25519
    receive: str  # X25519


@dataclass(frozen=True, slots=True)
class EnrolmentRow:
    id: str
    principal_id: str
    role: Role
    keys: KeyPair
    holdings: tuple[str, ...]
    challenge: str  # what only the holder of the receive key can read, hexadecimal
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    id: str
    role: Role
    keys: tuple[KeyPair, ...]  # in force, oldest first
    enrolled_at: float
    keys_given: int = 1  # so that no number is ever given twice
    holdings: tuple[str, ...] = ()  # digests declared at enrolment
    profiles: tuple[str, ...] = ()
    open_jobs: int = 0
    manifest_versions: dict[str, int] = field(default_factory=dict)  # of each profile, the latest
    calibrations: dict[str, tuple[ProbeResult, ...]] = field(default_factory=dict)
    deliveries: dict[str, tuple[str, ...]] = field(default_factory=dict)  # ids by family digest


@dataclass(frozen=True, slots=True)
class ProfileRow:
    profile: EdgeModelProfile
    open_jobs: int = 0
    last_ended: str | None = None  # the job whose verdict is in force
    followed_at: float | None = None  # when a metric after a verdict last opened a job


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """What the vault's feed said of one name."""

    name: str
    versions: tuple[CentralModel, ...] = ()
    aliases: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PriorRow:
    """The newest epoch of what the fleet knows of a family."""

    family_digest: str
    prior: FleetPrior


@dataclass(frozen=True, slots=True)
class DistillationJobRow:
    id: str
    client_id: str
    asked: str  # name, name@version or name@alias
    profile: EdgeModelProfile  # pinned
    submitted_at: float
    deadline: float
    priority: Priority = Priority.NORMAL
    state: JobState = JobState.ACCEPTED
    model: CentralModel | None = None  # pinned
    graph: Mapping[str, Job] = field(default_factory=dict)
    probes: tuple[ProbeResult, ...] = ()
    plans: tuple[Plan, ...] = ()
    deliveries: tuple[str, ...] = ()
    installations: dict[str, str] = field(default_factory=dict)  # delivery -> digest of its report
    metrics: tuple[DistillationMetric, ...] = ()
    inherited: tuple[DistillationMetric, ...] = ()  # what broke the profile of the job it follows
    kept_metrics: tuple[DistillationMetric, ...] = ()  # after the verdict: the newest
    kept: int = 0  # how many came after the verdict
    follows: str | None = None
    followed_by: str | None = None
    judgement: Verdict | None = None  # the last round's, ADJUST included
    verdict: Verdict | None = None
    why: str = ""  # it is over

    @property
    def round(self) -> int:
        return len(self.plans)

    def document(self) -> DistillationJob:
        """The job as people and devices see it."""
        model = self.model
        return DistillationJob(
            id=self.id,
            client_id=self.client_id,
            central_model_version=self.asked,
            resolved_version=f"{model.name}@{model.version}" if model else None,
            central_model_digest=model.digest if model else None,
            edge_model_profile_id=self.profile.id,
            edge_model_profile_revision=self.profile.revision,
            state=self.state,
            rounds=self.round,
            verdict=self.verdict,
            submitted_at=self.submitted_at,
            deadline=self.deadline,
            priority=self.priority,
            follows=self.follows,
            followed_by=self.followed_by,
        )


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One round's ordered chunks for one client, sealed: no key stands here in the clear.

    It never changes: which chunks were acknowledged, the transfers of the job's graph say.
    """

    id: str
    client_id: str
    job_id: str
    profile_id: str
    round: int
    attempt: int
    version: int
    family_digest: str
    chunks: tuple[KnowledgeChunk, ...]  # those to send, in order
    train_after: int  # index of the chunk after which training may begin
    envelope: Blob  # the signed manifest, sent again byte for byte
    envelope_digest: str
    wrapped_key: Blob  # the transfer key, for the cluster alone
    server_key_number: int  # of the key behind the acks
    record_bytes: int
    expected_acks: tuple[str, ...]
    expires_at: float


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """An effect that failed for good; it waits for an operator."""

    id: str
    client_id: str
    job_id: str
    node: str
    attempt: int
    error: str
    at: float
    replayed_at: float | None = None
    replayed_by: str | None = None


@dataclass(frozen=True, slots=True)
class CursorRow:
    """How far the vault's feed has been applied."""

    sequence: int


ROWS = Codec(
    EnrolmentRow,
    PrincipalRow,
    ProfileRow,
    CatalogueRow,
    PriorRow,
    DistillationJobRow,
    DeliveryRow,
    DeadLetterRow,
    CursorRow,
)
CURSOR = "cursor/vault"
Rows = Mapping[str, Any]  # a key that is loaded but has no row maps to None
R = TypeVar("R")


def catalogue_key(name: str) -> str:
    return f"catalogue/{name}"


def prior_key(family_digest: str) -> str:
    return f"prior/{family_digest}"


def find(rows: Rows, key: str, kind: type[R]) -> R | None:
    """The row of `key` or None; NotLoaded if the caller has not loaded it.

    NotFound for another kind of row: a caller put a job's id where a profile's belongs.
    """
    try:
        row = rows[key]
    except KeyError:
        raise NotLoaded(key) from None
    if row is None or isinstance(row, kind):
        return row
    raise NotFound(f"no such id: {key!r}")


def get(rows: Rows, key: str, kind: type[R]) -> R:
    """The row of `key`; NotFound if there is none."""
    row = find(rows, key, kind)
    if row is None:
        raise NotFound(f"no such id: {key!r}")
    return row


def changed(row: R, **fields: Any) -> R:
    """The row with other values in `fields`: `dataclasses.replace` in a third of its time.

    What it saves are the checks of a frozen class's `__init__`, once a field, on every transition.
    """
    cls: Any = type(row)
    new: R = object.__new__(cls)
    read, write = slots(cls)
    for put, value in zip(write.values(), read(row), strict=True):
        put(new, value)
    for name, value in fields.items():
        write[name](new, value)
    return new


@cache
def slots(cls: Any) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, Callable[..., None]]]:
    """What reads all fields of a slotted class at once, and what writes each."""
    names = cls.__dict__["__slots__"]
    return attrgetter(*names), {name: cls.__dict__[name].__set__ for name in names}


def calibration_of(spec: ProfileSpec, model: CentralModel) -> str:
    """What a calibration depends on: the networks' shapes, and how many threads run them."""
    return digest_of([model.architecture.model_dump(), spec.cpu_cores])
