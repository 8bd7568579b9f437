"""The nouns that cross a boundary, each a frozen model: what they hold, their units and ranges.

Accuracies are fractions. A unit stands in the name of every measured field. `extra="forbid"` and no
NaN or infinity: a wrong or misspelt field is an error at the door, never a default.
"""

import hashlib
import itertools
import json
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, hexadecimal")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e15)]
Bytes = Annotated[int, Field(ge=1, le=1 << 50)]
Count = Annotated[int, Field(ge=0, le=1 << 50)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]

TRAINABLE = (0.0, 0.5, 1.0)  # shares of a student's blocks whose training memory is measured


class Entity(BaseModel):
    """The base of all that crosses a boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no spaces), hexadecimal."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(document: object) -> str:
    """SHA-256 of a JSON document in canonical form, hexadecimal."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Word(StrEnum):
    """One of a closed set of words."""


# Read in C: Enum's own is Python, and a journal writes millions of words.
Word.value = property(attrgetter("_value_"))  # type: ignore[method-assign, assignment]


# --- who ----------------------------------------------------------------------------------------


class Role(Word):
    """What a principal may be; what each may do is in `authorization.py`."""

    CLIENT = "client"
    OWNER = "owner"  # registers central models
    OPERATOR = "operator"  # jobs and revocation; no weights
    AUDITOR = "auditor"
    SYSTEM = "system"  # the cluster's own effects; never comes in over HTTP


DEADLINE_S = 7 * 86400.0  # of a distillation job, unless it asks for another
LONGEST_DEADLINE_S = 90 * 86400.0


class Priority(Word):
    """How often a job's effects are served while others wait for the cluster, too."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Principal(Entity):
    """Who asks: a verified identity and its role."""

    id: str
    role: Role


SYSTEM = Principal(id="system", role=Role.SYSTEM)


# --- what a device can afford -------------------------------------------------------------------


class ProfileSpec(Entity):
    """What a client declares: limits of its device and the accuracy that it may lose."""

    cpu_cores: int = Field(ge=1, le=1024, description="threads the device uses for inference")
    memory_bytes: Bytes = Field(description="peak at batch 1: weights and live activations")
    storage_bytes: Bytes
    latency_p95_ms: float = Field(gt=0, le=1e7, description="95th percentile at batch 1")
    max_accuracy_drop: float = Field(
        ge=0, lt=1, description="below the central model's registered accuracy, as a fraction"
    )
    training_memory_bytes: Bytes | None = None
    energy_mj: Positive | None = None
    strict: bool = Field(
        default=False, description="accept no student whose accuracy is not all but certain"
    )


class EdgeModelProfile(Entity):
    """A profile with its owner and revision; jobs pin the revision."""

    id: str
    client_id: str
    revision: int = Field(ge=1)
    spec: ProfileSpec


# --- the family ---------------------------------------------------------------------------------


class Student(Entity):
    """A point of the family: the share of channels kept, blocks kept in each stage, weight bits."""

    width: float = Field(gt=0, le=1)
    depths: tuple[int, ...]
    bits: Literal[4, 8, 32]

    def __str__(self) -> str:
        number = "fp" if self.bits == 32 else "int"
        return f"w{self.width:g} d{'-'.join(map(str, self.depths))} {number}{self.bits}"

    def within(self, other: "Student") -> bool:
        """True if this student is nowhere larger than `other`."""
        return (
            self.width <= other.width
            and self.bits <= other.bits
            and all(a <= b for a, b in zip(self.depths, other.depths, strict=True))
        )


class StudentFacts(Entity):
    """What the table of a family says of one student; measured at the build, on no device."""

    student: Student
    accuracy: Fraction = Field(description="expected on unseen people, before training there")
    agreement: Fraction = Field(description="with the central model, on the transfer set")
    parameters: int = Field(ge=1)
    wire_bytes: Bytes = Field(description="one weights chunk of the whole student")
    own_bytes: Count = Field(default=0, description="of these, what each chunk to it brings again")
    storage_bytes: Bytes = Field(description="the received reference on the device's disk")
    memory_bytes: Bytes = Field(description="weights and peak live activations at batch 1")
    training_memory_bytes: tuple[Bytes, ...] = Field(
        description="peak of one step while the shares TRAINABLE of its blocks train"
    )
    layers: int = Field(ge=1)
    macs: int = Field(ge=1, description="multiply-accumulates of one inference")


class FamilyGrid(Entity):
    """The points of a family: shares of the channels, depths of each stage, bits of the weights."""

    widths: tuple[float, ...] = (0.25, 0.375, 0.5, 0.75, 1.0)
    depths: tuple[tuple[int, ...], ...] = ((1, 2, 3), (1, 2, 3))
    bits: tuple[Literal[4, 8, 32], ...] = (4, 8, 32)

    def students(self) -> tuple[Student, ...]:
        """Every point, the smallest first; bits vary fastest."""
        points = itertools.product(self.widths, itertools.product(*self.depths), self.bits)
        return tuple(Student(width=w, depths=d, bits=b) for w, d, b in points)

    def shapes(self) -> tuple[Student, ...]:
        """The students of the most bits: one for each shape of network."""
        return tuple(s for s in self.students() if s.bits == max(self.bits))

    def probes(self) -> tuple[Student, ...]:
        """The corners that span all latencies: smallest, deep-narrow, shallow-wide, largest."""
        corners = itertools.product(
            (min(self.widths), max(self.widths)),
            (tuple(map(min, self.depths)), tuple(map(max, self.depths))),
        )
        return tuple(Student(width=w, depths=d, bits=8) for w, d in corners)


class TrainingDefaults(Entity):
    """How students of a central model train on devices, whichever student and device it is."""

    steps: int = Field(default=240, ge=0, le=100_000)
    batch: int = Field(default=64, ge=2, le=4096)
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(default=0.02, gt=0, le=1)
    temperature: float = Field(default=2.0, gt=0, le=100)
    public_share: Fraction = 0.5
    rotation_sd_rad: float = Field(default=0.3, ge=0, le=3.2)
    time_warp: float = Field(default=0.1, ge=0, le=1)
    adapt: bool = Field(
        default=True, description="batch norms first take the statistics of the device's windows"
    )
    standardise: bool = Field(
        default=False, description="logits of each sample to mean 0 and deviation 1 (2403.01427)"
    )


class FamilyTable(Entity):
    """All students of one central model version, and the probe networks that span their shapes."""

    family_digest: Digest
    registered_accuracy: Fraction
    registered_accuracy_se: float = Field(ge=0, le=1)
    outputs: int = Field(ge=1, description="classes, or features of a model that embeds")
    embeds: bool = Field(default=False, description="it has features instead of logits")
    rows: tuple[StudentFacts, ...]
    probes: tuple[Student, ...] = Field(description="run by a device with weights from a seed")
    training: TrainingDefaults = TrainingDefaults()
    transfer_input_bytes: Count = Field(default=0, description="of one public input")
    updates: Digest | None = Field(
        default=None, description="the family of the version before, of which this is an update"
    )
    update_share: Fraction = Field(
        default=1.0, description="bytes of the update of a chunk against the chunk, measured"
    )

    def facts(self, student: Student) -> StudentFacts:
        """The row of `student`; KeyError if the family has none such."""
        for row in self.rows:
            if row.student == student:
                return row
        raise KeyError(str(student))


# --- the central model --------------------------------------------------------------------------


class VectorAxes(Entity):
    """Indices of three axes that rotate together (an accelerometer's x, y, z)."""

    axes: tuple[int, int, int]


class Preprocessing(Entity):
    """How raw recordings become windows: constants of the owner, applied the same everywhere.

    An image is one window of its pixels, row by row, an axis a colour; a text one of its tokens.
    """

    window: int = Field(ge=1, le=1 << 16, description="samples")
    step: int = Field(ge=1, le=1 << 16, description="samples between the starts of two windows")
    mean: tuple[float, ...] = Field(description="per axis, physical units")
    deviation: tuple[float, ...] = Field(description="per axis, physical units")
    vectors: tuple[VectorAxes, ...] = Field(default=(), description="axes that rotate together")
    rotation_sd_rad: float = Field(default=0, ge=0, le=3.2, description="augmentation")
    discrete: bool = Field(default=False, description="values are ids, never scaled")


class ArchitectureSpec(Entity):
    """An architecture as data: an allow-listed id and keyword arguments, never an import path."""

    id: Name
    kwargs: dict[str, int | float | tuple[int, ...]] = {}


class FamilyRecipe(Entity):
    """How the nested students train (with one drawn student a step the middle lags, WRIST)."""

    epochs: int = Field(default=9, ge=0, le=10_000)
    steps: int | None = Field(default=None, ge=0, le=1_000_000, description="instead of epochs")
    labelled: int = Field(default=48, ge=0, le=4096, description="windows a step")
    unlabelled: int = Field(default=16, ge=0, le=4096, description="windows a step")
    drawn: int = Field(default=2, ge=0, le=16, description="students a step, beside two corners")
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0, le=100)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    opening: Fraction = Field(default=0.25, description="share of the steps until all are open")
    calibration_windows: int = Field(default=1000, ge=1, le=1 << 20)
    public_windows: int = Field(default=250, ge=1, le=1 << 20)


class CentralModelSpec(Entity):
    """What the owner says of a version when the upload starts; the system measures the rest."""

    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    grid: FamilyGrid | None = Field(default=None, description="null: the deployment's")
    family: FamilyRecipe = FamilyRecipe()
    training: TrainingDefaults = Field(
        default=TrainingDefaults(), description="of students on devices"
    )
    standardise: bool | None = Field(
        default=None, description="of device training; null: measured at the family build"
    )
    labels: tuple[str, ...] = Field(min_length=2, max_length=1 << 16)
    files: dict[Name, Digest] = Field(description="file name -> SHA-256 of the sealed artefact")


class CentralModel(Entity):
    """A registered version: immutable, announced on the vault's feed once its family is ready."""

    name: Name
    version: int = Field(ge=1)
    digest: Digest
    owner_id: str
    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    accuracy: Fraction
    accuracy_se: float = Field(ge=0, le=1, description="over people (sources), not windows")
    evaluation_set: Digest
    size_bytes: Bytes
    parameters: int = Field(ge=1)
    family_digest: Digest
    updates: Digest | None = Field(
        default=None, description="the family that devices can update from"
    )
    transfer_inputs: Digest = Field(description="of the public windows that devices pre-install")
    transfer_input_bytes: Count
    transfer_input_count: Count


class JobState(Word):
    """Where a distillation job stands as a whole."""

    ACCEPTED = "ACCEPTED"  # waits for its central model
    RUNNING = "RUNNING"
    ENDED = "ENDED"  # with a verdict
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"  # at its deadline


# --- knowledge and plans ------------------------------------------------------------------------


class WeightsRecipe(Entity):
    """The slice of the family's weights that turns the runnable student `base` into `student`.

    From 4 bits to 8 of the same shape it is the next bit-planes.
    """

    kind: Literal["weights"] = "weights"
    base: Student | None
    student: Student


class BehaviourRecipe(Entity):
    """The central model's top-k logits, or features, on public windows [first, first + count)."""

    kind: Literal["behaviour"] = "behaviour"
    layer: Literal["logits", "features"] = "logits"
    top_k: int = Field(ge=0, le=16, description="0 for features")
    first: Count
    count: int = Field(ge=1)


class DeltaRecipe(Entity):
    """What turns a weights chunk of another family, held by the device, into that of this one."""

    kind: Literal["delta"] = "delta"
    family: Digest = Field(description="whose chunk the device holds")
    of: WeightsRecipe = Field(description="of both chunks")


ChunkRecipe = Annotated[WeightsRecipe | BehaviourRecipe | DeltaRecipe, Field(discriminator="kind")]


class KnowledgeChunk(Entity):
    """A chunk as a manifest names it: what to do (recipe), what came out (digest)."""

    recipe: ChunkRecipe
    digest: Digest
    length: Bytes
    base: Digest | None = Field(default=None, description="of a delta: the chunk it changes")
    makes: Digest | None = Field(default=None, description="of a delta: the chunk it leads to")
    makes_length: Bytes | None = Field(default=None, description="of a delta: of that chunk")

    @model_validator(mode="after")
    def _a_delta_says_between_which_chunks(self) -> Self:
        said = {field is not None for field in (self.base, self.makes, self.makes_length)}
        if said != {isinstance(self.recipe, DeltaRecipe)}:
            raise ValueError("base and makes are a delta's, all of them, and of no other chunk")
        return self


class TrainingRecipe(TrainingDefaults):
    """How the device trains: public soft labels anchor, private hard labels personalise."""

    warmup_steps: int = Field(
        default=60, ge=0, le=100_000, description="on the first student, while the rest arrives"
    )
    trainable: Fraction = Field(
        default=1.0, description="share of the blocks that train, the last first; the head always"
    )
    seed: int = Field(ge=0)


class Action(Word):
    """What a round asks of the device."""

    DELIVER = "deliver"  # new chunks, then train and measure
    TRAIN = "train"  # nothing new to send
    MEASURE = "measure"  # nothing new: a limit of time or energy was missed by noise at most


class Plan(Entity):
    """What one round does, and why."""

    round: int = Field(ge=1)
    action: Action
    student: Student
    chunks: tuple[ChunkRecipe, ...] = Field(description="all that the student needs, in order")
    training: TrainingRecipe
    expected_accuracy: float
    expected_accuracy_sd: float
    expected_latency_p95_ms: float
    chance: Fraction = Field(description="that every limit of the profile holds")
    prior_epoch: int = Field(default=0, ge=0, description="of the fleet's prior; 0: none yet")
    why: str


class Constraint(Word):
    """A limit of a profile, as verdicts name it."""

    STORAGE = "storage_bytes"
    MEMORY = "memory_bytes"
    LATENCY = "latency_p95_ms"
    ACCURACY = "max_accuracy_drop"
    TRAINING_MEMORY = "training_memory_bytes"
    ENERGY = "energy_mj"


class CounterOffer(Entity):
    """Relaxed limits under which some student would do, with the probability that it does."""

    limits: dict[Constraint, float] = Field(
        description="at most three, to be put into the profile; its other limits stay"
    )
    chance: Fraction
    student: Student


class VerdictKind(Word):
    """How a distillation job ends; ADJUST until then."""

    MET = "MET"
    INFEASIBLE = "INFEASIBLE"
    BEST_EFFORT = "BEST_EFFORT"
    ADJUST = "ADJUST"


class Verdict(Entity):
    """What the measurements say of the profile, with the reason in words."""

    kind: VerdictKind
    why: str
    binding_constraint: Constraint | None = None
    counter_offers: tuple[CounterOffer, ...] = ()
    student: Student | None = None
    next_action: Action | None = Field(default=None, description="with ADJUST alone")


# --- what a device reports ----------------------------------------------------------------------


class ProbeResult(Entity):
    """Latency of one probe network there (200 warm runs at batch 1 on `cpu_cores` threads)."""

    student: Student
    latency_p50_ms: Positive
    latency_p95_ms: Positive


class DistillationMetric(Entity):
    """What the client measured of its edge model after a round."""

    round: int = Field(ge=1, le=64)
    student: Student
    accuracy: Fraction
    accuracy_se: float = Field(ge=0, le=1, description="bootstrap over recordings")
    samples: int = Field(ge=1, le=1 << 40)
    latency_p50_ms: Positive
    latency_p95_ms: Positive
    peak_memory_bytes: Bytes
    storage_bytes: Bytes
    training_memory_bytes: Bytes | None = Field(default=None, description="peak of one step")
    training_time_s: float = Field(ge=0, le=1e9)
    energy_mj: Positive | None = None
    source: Literal["measured", "calibrated"] = Field(
        default="measured", description="of latency and memory; a simulated device's are calibrated"
    )


class DistillationJob(Entity):
    """One client's request, as people and devices see it."""

    id: str
    client_id: str
    central_model_version: str = Field(description="as asked: name, name@version or name@alias")
    resolved_version: str | None = Field(description="name@version, pinned; null while it waits")
    central_model_digest: Digest | None
    edge_model_profile_id: str
    edge_model_profile_revision: int
    state: JobState
    rounds: Count
    verdict: Verdict | None
    submitted_at: float = Field(description="seconds since the epoch")
    deadline: float = Field(description="seconds since the epoch")
    priority: Priority = Priority.NORMAL
    follows: str | None = Field(
        default=None, description="the job whose student no longer held the profile"
    )
    followed_by: str | None = Field(
        default=None, description="the job that a metric after the verdict opened"
    )
