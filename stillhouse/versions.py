"""Central model versions, as the vault keeps them: rows, commands and events of a registration.

A version is UPLOADING until all its sealed files are there, EVALUATING while the system measures
its accuracy itself, BUILDING while the family is trained, and then AVAILABLE.
"""

from dataclasses import dataclass
from enum import StrEnum

from stillhouse.codec import Codec
from stillhouse.entities import CentralModel, CentralModelSpec, Entity, FamilyTable
from stillhouse.events import (
    AliasSet,
    Enrolled,
    EnrolmentOpened,
    FleetRead,
    LessonsLearnt,
    ModelAnnounced,
    PriorPublished,
)
from stillhouse.fleet import Experience, FleetPrior
from stillhouse.rows import EnrolmentRow, PrincipalRow

FILES = frozenset({"weights", "transfer", "evaluation"})
MORE_FILES = frozenset({"training"})  # labelled; students can do without


class VersionState(StrEnum):
    """Where a version stands on its way into the catalogue."""

    UPLOADING = "UPLOADING"
    EVALUATING = "EVALUATING"
    BUILDING = "BUILDING"
    AVAILABLE = "AVAILABLE"
    FAILED = "FAILED"


class Measured(Entity):
    """What the system measured of a central model, on the owner's evaluation set."""

    accuracy: float
    accuracy_se: float
    evaluation_set: str
    size_bytes: int
    parameters: int


class CentralModelVersion(Entity):
    """A version as its owner sees it."""

    name: str
    version: int
    owner_id: str
    state: VersionState
    why: str
    files: dict[str, bool]  # True once the whole file is there
    build_progress: float = 0.0  # share of the family's build; filled in by the API
    family_reused: bool = False  # the family had been built before, from the same files
    measured: Measured | None
    model: CentralModel | None


@dataclass(frozen=True, slots=True)
class NameRow:
    name: str
    owner_id: str
    versions: int = 0  # how many have been started
    latest: int | None = None  # of those that are available
    aliases: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class VersionRow:
    name: str
    version: int
    owner_id: str
    spec: CentralModelSpec
    received: tuple[str, ...] = ()
    state: VersionState = VersionState.UPLOADING
    attempt: int = 0
    why: str = "waits for its files"
    measured: Measured | None = None
    model: CentralModel | None = None
    family_reused: bool = False

    def document(self) -> CentralModelVersion:
        """The version as its owner sees it."""
        return CentralModelVersion(
            name=self.name,
            version=self.version,
            owner_id=self.owner_id,
            state=self.state,
            why=self.why,
            files={name: name in self.received for name in self.spec.files},
            family_reused=self.family_reused,
            measured=self.measured,
            model=self.model,
        )


@dataclass(frozen=True, slots=True)
class TableRow:
    family_digest: str
    table: FamilyTable


@dataclass(frozen=True, slots=True)
class FleetRow:
    """What the fleet's reports say of a family, and the epoch that was made of them last."""

    family_digest: str
    experience: Experience
    prior: FleetPrior | None = None


@dataclass(frozen=True, slots=True)
class FleetCursorRow:
    """How far the reports of each shard were counted: its name -> sequence."""

    sequences: dict[str, int]


@dataclass(frozen=True, slots=True)
class StartUpload:
    name: str
    spec: CentralModelSpec


@dataclass(frozen=True, slots=True)
class CompleteFile:
    name: str
    version: int
    file: str
    digest: str  # of the bytes that arrived


@dataclass(frozen=True, slots=True)
class SetAlias:
    name: str
    alias: str
    version: int


@dataclass(frozen=True, slots=True)
class Evaluated:
    name: str
    version: int
    attempt: int
    measured: Measured


@dataclass(frozen=True, slots=True)
class FamilyBuilt:
    name: str
    version: int
    attempt: int
    model: CentralModel
    table: FamilyTable
    reused: bool = False


@dataclass(frozen=True, slots=True)
class RegistrationFailed:
    name: str
    version: int
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class UploadStarted:
    name: str
    version: int
    owner_id: str
    spec: CentralModelSpec


@dataclass(frozen=True, slots=True)
class FileReceived:
    name: str
    version: int
    file: str


@dataclass(frozen=True, slots=True)
class VersionMoved:
    name: str
    version: int
    state: VersionState
    why: str
    lease_until: float | None = None


@dataclass(frozen=True, slots=True)
class VersionMeasured:
    name: str
    version: int
    measured: Measured


@dataclass(frozen=True, slots=True)
class TableStored:
    name: str
    version: int
    table: FamilyTable
    reused: bool


ROWS = Codec(EnrolmentRow, PrincipalRow, NameRow, VersionRow, TableRow, FleetRow, FleetCursorRow)
EVENTS = Codec(
    EnrolmentOpened,
    Enrolled,
    UploadStarted,
    FileReceived,
    VersionMoved,
    VersionMeasured,
    TableStored,
    ModelAnnounced,
    AliasSet,
    LessonsLearnt,
    PriorPublished,
    FleetRead,
)


def name_key(name: str) -> str:
    return f"name/{name}"


def version_key(name: str, version: int) -> str:
    return f"version/{name}@{version}"


def table_key(family_digest: str) -> str:
    return f"table/{family_digest}"


FLEET = "fleet"  # the key of how far the shards were read


def fleet_key(family_digest: str) -> str:
    return f"fleet/{family_digest}"
