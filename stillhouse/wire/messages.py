"""Bodies that cross the API and are no entity themselves: requests, work items, documents."""

from typing import Annotated, Literal

from pydantic import Field

from stillhouse.entities import (
    DEADLINE_S,
    LONGEST_DEADLINE_S,
    ArchitectureSpec,
    CentralModelSpec,
    Count,
    Digest,
    DistillationJob,
    DistillationMetric,
    EdgeModelProfile,
    Entity,
    Fraction,
    KnowledgeChunk,
    Name,
    Plan,
    Preprocessing,
    Priority,
    ProbeResult,
    Role,
    Student,
    TrainingRecipe,
    Verdict,
)

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModelRef = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9._-]{1,64})?$")]
Id = Annotated[str, Field(max_length=64)]

# --- requests ------------------------------------------------------------------------------------


class EnrolmentRequest(Entity):
    """Both public keys, signed over; in the loopback development mode without a token."""

    role: Role
    sign_key: Hex32 = Field(description="Ed25519, hexadecimal")
    receive_key: Hex32 = Field(description="X25519, hexadecimal")
    holdings: tuple[Digest, ...] = Field(default=(), max_length=1024)
    signature: str = Field(pattern=r"^[0-9a-f]{128}$", description="over token hash, role and keys")


class Confirmation(Entity):
    """The challenge, opened with the receive key."""

    challenge: Hex32


class KeysRequest(Entity):
    """New public keys; the request is signed by the old ones, `signature` is by the new."""

    sign_key: Hex32 = Field(description="Ed25519, hexadecimal")
    receive_key: Hex32 = Field(description="X25519, hexadecimal")
    signature: str = Field(pattern=r"^[0-9a-f]{128}$", description="as at an enrolment")


class JobRequest(Entity):
    """What a client asks for."""

    client_id: Id
    central_model_version: ModelRef
    edge_model_profile_id: Id
    priority: Priority = Field(default=Priority.NORMAL, description="high is for operators alone")
    deadline_s: float = Field(
        default=DEADLINE_S, gt=0, le=LONGEST_DEADLINE_S, description="seconds from now"
    )


class ProbeReport(Entity):
    """The device's latency of the probe networks."""

    attempt: int = Field(ge=1)
    probes: tuple[ProbeResult, ...] = Field(
        max_length=64, description="none if none fits the memory"
    )


class Progress(Entity):
    """How far a piece of work is; renews its lease."""

    node: str = Field(max_length=64)
    attempt: int = Field(ge=1)
    share: Fraction
    done: bool = False


class Ack(Entity):
    """Proof that chunk `index` was opened."""

    index: Count
    ack: Hex32


class InstallationReport(Entity):
    """Proof that the student was loaded: its answers to the probe inputs, before any training."""

    manifest_digest: Digest
    version: int = Field(ge=1)
    probe_answers: tuple[tuple[float, ...], ...] = Field(default=(), max_length=64)


class UploadRequest(Entity):
    """Starts the upload of a central model version."""

    spec: CentralModelSpec


class AliasRequest(Entity):
    """The version that an alias shall point to."""

    version: int = Field(ge=1)


# --- what a device is told ---------------------------------------------------------------------


class ModelCard(Entity):
    """What a device must know of a central model to run and train a student of it."""

    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    transfer_inputs: Digest
    transfer_input_count: Count


class WorkBase(Entity):
    """A piece of work: a node of a job's graph, in one attempt."""

    job_id: str
    node: str
    attempt: int


class ProbeWork(WorkBase):
    """Measure the latency of networks with weights from `seed`, those that fit the memory."""

    kind: Literal["probe"] = "probe"
    card: ModelCard
    students: tuple[Student, ...]
    memory_bytes: int = Field(description="the profile's limit: larger networks are left out")
    cpu_cores: int
    runs: int = 200
    seed: int = 0


class FetchWork(WorkBase):
    """Fetch, open and acknowledge the chunks of a delivery, in order."""

    kind: Literal["fetch"] = "fetch"
    delivery_id: str
    profile_id: str
    version: int = Field(ge=1, description="of the manifest")
    next_chunk: Count


class TrainWork(WorkBase):
    """Assemble the student and train it on the private data; begin with the first student that
    runs, where chunks still come."""

    kind: Literal["train"] = "train"
    round: int
    profile_id: str
    card: ModelCard
    student: Student
    weights: tuple[KnowledgeChunk, ...]
    behaviour: tuple[KnowledgeChunk, ...]
    training: TrainingRecipe


class MeasureWork(WorkBase):
    """Measure the trained student on held-out private data, and report."""

    kind: Literal["measure"] = "measure"
    round: int
    profile_id: str
    card: ModelCard
    student: Student
    cpu_cores: int
    seed: int


WorkItem = Annotated[ProbeWork | FetchWork | TrainWork | MeasureWork, Field(discriminator="kind")]


class Work(Entity):
    """What a device should do next, and which jobs of it are over."""

    client_id: str
    server_time: float
    cursor: str = Field(description="pass it back: the answer waits for something newer")
    items: tuple[WorkItem, ...]
    open_jobs: Count


class TrustAnchors(Entity):
    """What devices pin (who may sign manifests), and what owners seal uploads to."""

    manifest_keys: tuple[Hex32, ...] = Field(description="Ed25519, hexadecimal")
    cluster_key: Hex32 = Field(description="X25519, hexadecimal")


# --- what people are told -----------------------------------------------------------------------


class GraphNode(Entity):
    """One job of the graph, with the reason for its state."""

    id: str
    kind: str
    parents: tuple[str, ...]
    state: str
    cause: str
    since: float
    attempt: int


class TransferProgress(Entity):
    """Chunks and their bytes, each once, over all rounds."""

    chunks: Count
    chunks_acknowledged: Count
    bytes: Count
    bytes_acknowledged: Count


class JobStatus(Entity):
    """All that is known of a distillation job."""

    job: DistillationJob
    round: Count
    graph: tuple[GraphNode, ...]
    plan: Plan | None
    plans: tuple[Plan, ...]
    transfers: TransferProgress
    metrics: tuple[DistillationMetric, ...]
    metrics_after_verdict: tuple[DistillationMetric, ...] = Field(description="the newest 100")
    follows: str | None = Field(
        default=None, description="the job whose student no longer held the profile"
    )
    followed_by: str | None = Field(
        default=None, description="the job that a metric after the verdict opened"
    )
    judgement: Verdict | None
    verdict: Verdict | None
    why: str = Field(default="", description="it is over; empty until then")


class JobGraph(Entity):
    """The jobs of one distillation job; parents come before their children."""

    nodes: tuple[GraphNode, ...]


class Explanation(Entity):
    """Why a job is where it is, in words: each plan's reason, then the judgement's."""

    state: str
    plans: tuple[str, ...]
    judgement: str | None
    verdict: Verdict | None


class StoryEvent(Entity):
    """One event of a job's story, with words for people."""

    sequence: int = Field(description="pass the last one back to go on behind it")
    at: float = Field(description="seconds since the epoch")
    event: str = Field(description="its kind, as in JobMoved")
    node: str | None = None
    state: str | None = Field(default=None, description="of the node, or of the job at its end")
    text: str


class JobList(Entity):
    """A page of jobs, newest first."""

    jobs: tuple[DistillationJob, ...]
    next_cursor: str | None = Field(description="of the next page; null where there is none")


class DeadLetter(Entity):
    """An effect that failed for good; its job has failed, and goes on with a replay."""

    id: str
    client_id: str
    job_id: str
    node: str
    attempts: int
    error: str
    at: float = Field(description="seconds since the epoch")


class DeadLetterList(Entity):
    """A page of dead letters that wait for a replay, newest first."""

    dead_letters: tuple[DeadLetter, ...]
    next_cursor: str | None = Field(description="of the next page; null where there is none")


class ProfileList(Entity):
    """A page of a client's profiles, oldest first."""

    profiles: tuple[EdgeModelProfile, ...]
    next_cursor: str | None


class ModelSummary(Entity):
    """A central model by name: its versions, and what its aliases mean."""

    name: Name
    owner_id: str
    versions: Count = Field(description="how many have been started")
    latest: int | None = Field(description="the newest that is available")
    aliases: dict[str, int]


class ModelList(Entity):
    """A page of central models, by name."""

    models: tuple[ModelSummary, ...]
    next_cursor: str | None
