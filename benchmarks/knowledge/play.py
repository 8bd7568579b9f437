"""One client's whole loop with real training, in one process: plan, cut, train, measure, judge.

The same rules, chunks and device code as in a deployment; only wire and control plane are left out
(the demo and the tests have those). Latency is a simulated device's, everything else is measured.
"""

from dataclasses import dataclass, field

from benchmarks.knowledge.families import Built
from benchmarks.knowledge.tasks import Client
from edge_sim.device import Calibration, SimulatedWorkbench, weights_bytes
from edge_sim.scenario import DeviceModel
from stillhouse.compress.arch import Network, build, load_weights
from stillhouse.compress.architectures import network
from stillhouse.compress.pack import build_pack, spans
from stillhouse.edge.train import accuracy
from stillhouse.edge.workbench import PrivateData
from stillhouse.entities import (
    Action,
    BehaviourRecipe,
    ChunkRecipe,
    DistillationMetric,
    KnowledgeChunk,
    Plan,
    ProfileSpec,
    Student,
    TrainingRecipe,
    Verdict,
    VerdictKind,
)
from stillhouse.planner import PlanInput, plan
from stillhouse.verdict import judge
from stillhouse.wire.messages import MeasureWork, ModelCard, ProbeWork, TrainWork

MAX_ROUNDS = 8


@dataclass
class Ended:
    """How a loop ended. `wire_bytes` were sent; public inputs were installed before."""

    verdict: Verdict
    rounds: int
    wire_bytes: int
    reports: list[DistillationMetric] = field(default_factory=list)
    trained: bytes = b""
    tested: float | None = None  # accuracy on recordings that no rule ever sees

    @property
    def met(self) -> bool:
        return self.verdict.kind is VerdictKind.MET


class Seat:
    """A client with its device: what trains and measures there."""

    def __init__(
        self, built: Built, client: Client, model: DeviceModel, host: Calibration, seed: int
    ) -> None:
        family = built.family
        self.built, self.client, self.seed = built, client, seed
        self.card = ModelCard(
            architecture=family.header.architecture,
            preprocessing=family.header.preprocessing,
            labels=built.task.spec.labels,
            transfer_inputs=family.public.digest(),
            transfer_input_count=len(family.public),
        )
        private = PrivateData(client.train, client.validation)
        self.bench = SimulatedWorkbench(private, family.public, model, host, seed)

    def play(self, spec: ProfileSpec) -> Ended:
        """Rounds until a verdict."""
        table = self.built.family.table
        given = PlanInput(
            spec=spec,
            table=table,
            probes=self.bench.probe(self._probe_work(spec)),
            public_windows=len(self.built.family.public),
            max_rounds=MAX_ROUNDS,
            seed=self.seed,
        )
        ended = Ended(Verdict(kind=VerdictKind.ADJUST, why=""), 0, 0)
        while ended.verdict.kind is VerdictKind.ADJUST:
            planned = plan(given)
            if isinstance(planned, Verdict):
                ended.verdict = planned
                break
            given = self._round(given, planned, spec, ended)
        if ended.reports:
            ended.tested = self.tested(ended.reports[-1].student, ended.trained)
        return ended

    def _round(self, given: PlanInput, planned: Plan, spec: ProfileSpec, ended: Ended) -> PlanInput:
        ended.rounds = planned.round
        new = [recipe for recipe in planned.chunks if recipe not in given.held]
        ended.wire_bytes += sum(chunk.length for chunk in build_pack(self.built.family, new).chunks)
        if planned.action is not Action.MEASURE:
            ended.trained = self.train(planned.student, planned.training, planned.chunks)
        report = self.measure(planned.student, ended.trained, spec, planned.round)
        ended.reports.append(report)
        held = (*given.held, *new)
        given = given.model_copy(update={"reports": (*given.reports, report), "held": held})
        ended.verdict = judge(given)
        after = {"round": planned.round + 1, "next_action": ended.verdict.next_action}
        return given.model_copy(update=after)

    def train(
        self, student: Student, recipe: TrainingRecipe, recipes: tuple[ChunkRecipe, ...]
    ) -> bytes:
        """The trained student, as a device trains it from these chunks."""
        pack = build_pack(self.built.family, recipes)
        parts = [pack.payload[start:stop] for start, stop in spans(pack.chunks)]
        behaviour = [isinstance(recipe, BehaviourRecipe) for recipe in recipes]
        work = TrainWork(
            job_id="job",
            node="r1.train",
            attempt=1,
            round=1,
            profile_id="prf",
            card=self.card,
            student=student,
            weights=_those(pack.chunks, behaviour, False),
            behaviour=_those(pack.chunks, behaviour, True),
            training=recipe,
        )
        weights = [part for part, taught in zip(parts, behaviour, strict=True) if not taught]
        taught = [part for part, taught in zip(parts, behaviour, strict=True) if taught]
        return self.bench.train(work, weights, taught, lambda _: None)[0]

    def measure(
        self, student: Student, trained: bytes, spec: ProfileSpec, round: int
    ) -> DistillationMetric:
        work = MeasureWork(
            job_id="job",
            node=f"r{round}.measure",
            attempt=1,
            round=round,
            profile_id="prf",
            card=self.card,
            student=student,
            cpu_cores=spec.cpu_cores,
            seed=self.seed + round,
        )
        return self.bench.measure(work, trained, self.storage_bytes(student))

    @property
    def whole(self) -> Student:
        """The shape of the central model, which need not be in the family."""
        return Student(width=1, depths=network(self.card.architecture).depths, bits=32)

    def storage_bytes(self, student: Student) -> int:
        """By the family's table; of the central model its weights."""
        rows = {row.student: row.storage_bytes for row in self.built.family.table.rows}
        if student in rows:
            return rows[student]
        return weights_bytes(self.card, student, quantised=student.bits < 32)

    def tested(self, student: Student, trained: bytes) -> float:
        """Accuracy on recordings that neither the device nor any rule ever sees."""
        model = load_weights(build(self.card.architecture, student), trained)
        return self.score(model)

    def score(self, model: Network) -> float:
        support = self.client.train if self.built.task.embeds else None
        pre = self.card.preprocessing
        return accuracy(model, self.client.test, pre, self.seed, support).accuracy

    def _probe_work(self, spec: ProfileSpec) -> ProbeWork:
        return ProbeWork(
            job_id="job",
            node="probe",
            attempt=1,
            card=self.card,
            students=self.built.family.table.probes,
            memory_bytes=spec.memory_bytes,
            cpu_cores=spec.cpu_cores,
            seed=self.seed,
        )


def _those(
    chunks: tuple[KnowledgeChunk, ...], marks: list[bool], wanted: bool
) -> tuple[KnowledgeChunk, ...]:
    return tuple(chunk for chunk, mark in zip(chunks, marks, strict=True) if mark is wanted)
