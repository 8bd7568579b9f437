"""A story of fifty transitions for the storage benchmarks: two clients, two jobs, in batches.

The batches are what a shard is sent, in order, each with its time; they are found by running the
real rules over a journal in memory, so that every later run over another journal decides the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.makers import PROBES, SPEC, STUDENT, metric, model, plan
from cluster.journal.contract import JournalIdentity
from cluster.journal.memory import MemoryJournal, Volume, initialise
from cluster.store import Store
from stillhouse import shard
from stillhouse.commands import (
    Acknowledge,
    Announce,
    Arrive,
    Compressed,
    ConfirmEnrolment,
    CreateProfile,
    Decided,
    Enrol,
    Planned,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    Start,
    Submit,
)
from stillhouse.decisions import Answer, Request
from stillhouse.entities import (
    SYSTEM,
    BehaviourRecipe,
    KnowledgeChunk,
    Principal,
    Role,
    Verdict,
    VerdictKind,
)
from stillhouse.events import JobMoved
from stillhouse.ids import principal_id
from stillhouse.jobs import ON_CLUSTER, Job, Kind, State
from stillhouse.rows import DeliveryRow, DistillationJobRow, KeyPair

IDENTITY = JournalIdentity("faults", "shard-0", 1, 1)
KEYS = tuple(KeyPair(1, byte * 32, byte * 32) for byte in ("a1", "b2"))
CLIENTS = tuple(
    Principal(id=principal_id(Role.CLIENT, bytes.fromhex(keys.sign)), role=Role.CLIENT)
    for keys in KEYS
)
CHUNKS = 3
UNDER_WAY = (State.READY, State.RUNNING, State.WAITING_CLIENT)


@dataclass(frozen=True, slots=True)
class Batch:
    """What comes in one call, and what it is answered."""

    now: float
    requests: tuple[Request, ...]
    answers: tuple[Answer, ...]


@dataclass(slots=True)
class Story:
    """The shard that the batches are found with."""

    store: Store = field(default_factory=lambda: Store(RULES, memory()))
    batches: list[Batch] = field(default_factory=list)
    transitions: int = 0

    def say(self, *said: tuple[Principal, Any]) -> None:
        number = len(self.batches)
        requests = tuple(
            Request(f"key-{number}-{place}", f"digest-{number}-{place}", who, command)
            for place, (who, command) in enumerate(said)
        )
        applied = self.store.apply(requests, 1000.0 + number)
        answers = tuple(each for each in applied.answers if isinstance(each, Answer))
        assert len(answers) == len(said), applied.answers
        self.batches.append(Batch(1000.0 + number, requests, answers))
        self.transitions += sum(isinstance(event, JobMoved) for event in applied.events)

    def job(self, id: str) -> DistillationJobRow:
        row: DistillationJobRow = self.store.rows([id])[id]
        return row


RULES: Any = shard


def script(transitions: int = 50) -> list[Batch]:
    """Batches that make at least so many transitions."""
    story = Story()
    story.say(*(said for number in range(2) for said in enrolled(number)))
    jobs = [f"job-{who.id[4:12]}-{1:016x}" for who in CLIENTS]
    story.say((SYSTEM, Announce("wrist", model=model())))
    story.say(
        *(
            (who, Submit(id, who.id, "wrist", profile_id(who)))
            for who, id in zip(CLIENTS, jobs, strict=True)
        )
    )
    while story.transitions < transitions:
        story.say(*(said for id in jobs for said in next_steps(story.job(id))))
    return story.batches


def enrolled(number: int) -> Iterator[tuple[Principal, Any]]:
    who, keys = CLIENTS[number], KEYS[number]
    enrolment = f"enr-{who.id[4:12]}-{1:016x}"
    yield who, Enrol(enrolment, Role.CLIENT, keys, (), "cc" * 32, "dd")
    yield who, ConfirmEnrolment(enrolment, "cc" * 32)
    yield who, CreateProfile(who.id, profile_id(who), SPEC)


def next_steps(job: DistillationJobRow) -> Iterator[tuple[Principal, Any]]:
    """What comes next of the job's first node that is under way; a job that waits, arrives."""
    if job.model is None:
        yield SYSTEM, Arrive(job.id)
        return
    node = next(node for node in job.graph.values() if node.state in UNDER_WAY)
    who = SYSTEM if node.kind in ON_CLUSTER else Principal(id=job.client_id, role=Role.CLIENT)
    yield who, next_step(job, node)


def next_step(job: DistillationJobRow, node: Job) -> Any:
    place = (job.id, node.id, node.attempt)
    if node.state is State.READY:
        return Start(job.id, node.id, node.attempt + 1)
    match node.kind:
        case Kind.PROBE:
            return ReportProbes(job.id, node.attempt, PROBES)
        case Kind.PLAN:
            return Planned(*place, plan(job.round + 1))
        case Kind.COMPRESS:
            return Compressed(*place, delivery(job, node))
        case Kind.TRANSFER:
            index = int(node.id.rpartition(".")[2])
            return Acknowledge(job.deliveries[-1], index, f"{index:064x}")
        case Kind.TRAIN:
            return ReportProgress(job.client_id, *place, 1.0, True)
        case Kind.MEASURE:
            return ReportMetrics(job.id, metric(job.round))
        case _:
            verdict = Verdict(kind=VerdictKind.ADJUST, why="not yet", student=STUDENT)
            return Decided(*place, verdict)


def memory() -> MemoryJournal:
    volume = Volume()
    initialise(volume, IDENTITY)
    return MemoryJournal(volume, IDENTITY)


def profile_id(who: Principal) -> str:
    return f"prf-{who.id[4:12]}-{1:016x}"


def delivery(job: DistillationJobRow, node: Job) -> DeliveryRow:
    chunks = tuple(
        KnowledgeChunk(
            recipe=BehaviourRecipe(top_k=1, first=index, count=1), digest="a" * 64, length=1
        )
        for index in range(CHUNKS)
    )
    return DeliveryRow(
        id=f"dlv-{job.client_id[4:12]}-{job.round:016x}",
        client_id=job.client_id,
        job_id=job.id,
        profile_id=job.profile.id,
        round=job.round,
        attempt=node.attempt,
        version=job.round,
        family_digest="b" * 64,
        chunks=chunks,
        train_after=0,
        envelope=b"{}",
        envelope_digest="c" * 64,
        wrapped_key=b"k",
        server_key_number=1,
        record_bytes=1,
        expected_acks=tuple(f"{index:064x}" for index in range(CHUNKS)),
        expires_at=1e12,
    )
