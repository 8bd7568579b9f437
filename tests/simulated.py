"""A compact family table and simulated devices for the tests of the rules: numbers like the demo's.

Parameters, MACs and latencies follow the one-dimensional residual network of the demo; a device is
the host's latency times its slowness, a cache cliff, an unknown int8 gain and noise.
"""

from dataclasses import dataclass
from itertools import product
from math import exp, sqrt

import numpy as np

from benchmarks.knowledge.ground import facts
from stillhouse.entities import (
    Action,
    DistillationMetric,
    FamilyTable,
    Plan,
    ProbeResult,
    ProfileSpec,
    Student,
    StudentFacts,
    Verdict,
    VerdictKind,
)
from stillhouse.planner import PlanInput, plan
from stillhouse.verdict import judge

REGISTERED = 0.94


def family(
    widths: tuple[float, ...] = (0.25, 0.5, 1.0),
    depths: tuple[int, ...] = (1, 3),
    bits: tuple[int, ...] = (4, 8),
) -> FamilyTable:
    """The demo's family, or another grid of the same network."""
    grid = product(widths, depths, depths, bits)
    students = [Student(width=w, depths=(a, b), bits=q) for w, a, b, q in grid]
    low, high = depths[0], depths[-1]
    corners = [
        (widths[0], low, low),
        (widths[-1], high, high),
        (widths[-1], low, low),
        (widths[0], high, high),
    ]
    return FamilyTable(
        family_digest="0" * 64,
        registered_accuracy=REGISTERED,
        registered_accuracy_se=0.02,
        outputs=7,
        rows=tuple(facts(student) for student in students),
        probes=tuple(Student(width=w, depths=(a, b), bits=32) for w, a, b in corners),
    )


FAMILY = family()
LARGE_FAMILY = family((0.25, 0.375, 0.5, 0.75, 1.0), (1, 2, 3), (4, 8, 32))


@dataclass(frozen=True)
class Device:
    """The truth that no rule sees."""

    slowness: float = 10.0
    cache_bytes: float = 1e9
    int8_gain: float = 0.78
    offset: float = 0.0  # of this person's accuracy from the table
    spread: float = 0.008  # of single students
    samples: int = 150
    power_w: float | None = None
    same_windows: float | None = None  # held out: the share of the noise that all students share
    seed: int = 0

    def noise(self, *parts: float) -> np.random.Generator:
        return np.random.default_rng([self.seed, *(round(1000 * part) for part in parts)])

    def latency_ms(self, row: StudentFacts, bits: int, round: int) -> float:
        host = 0.0205 * row.layers + 4e-5 * row.macs / 1000 - 0.01
        cliff = 1.25 if row.parameters * bits / 8 > self.cache_bytes else 1.0
        gain = self.int8_gain if bits < 32 else 1.0
        run = self.noise(1, row.layers, row.macs, bits, round)
        return self.slowness * host * cliff * gain * exp(0.03 * run.standard_normal())

    def true_accuracy(self, row: StudentFacts) -> float:
        own = self.noise(2, row.layers, row.macs, row.student.bits).standard_normal()
        return min(max(row.accuracy + self.offset + self.spread * own, 0.01), 0.995)

    def probe(self, table: FamilyTable) -> tuple[ProbeResult, ...]:
        rows = {(row.student.width, row.student.depths): row for row in table.rows}
        measured = [self.latency_ms(rows[p.width, p.depths], 32, 0) for p in table.probes]
        return tuple(
            ProbeResult(student=p, latency_p50_ms=ms / 1.05, latency_p95_ms=ms)
            for p, ms in zip(table.probes, measured, strict=True)
        )

    def measured_accuracy(self, row: StudentFacts, round: int) -> float:
        """On other held-out recordings each round; with `same_windows` on the same in each."""
        true, windows = self.true_accuracy(row), self.samples
        if self.same_windows is None:
            rng = self.noise(3, round, row.layers, row.macs)
            return rng.binomial(windows, true) / windows
        shared = self.noise(4).standard_normal()
        own = self.noise(5, row.layers, row.macs, row.student.bits).standard_normal()
        drawn = sqrt(self.same_windows) * shared + sqrt(1 - self.same_windows) * own
        right = true * windows + sqrt(true * (1 - true) * windows) * drawn
        return min(max(int(right + 0.5), 0), windows) / windows

    def report(self, table: FamilyTable, student: Student, round: int) -> DistillationMetric:
        row = table.facts(student)
        right = self.measured_accuracy(row, round)
        latency = self.latency_ms(row, student.bits, round)
        return DistillationMetric(
            round=round,
            student=student,
            accuracy=right,
            accuracy_se=sqrt(right * (1 - right) / self.samples),
            samples=self.samples,
            latency_p50_ms=latency / 1.05,
            latency_p95_ms=latency,
            peak_memory_bytes=row.memory_bytes,
            storage_bytes=row.storage_bytes,
            training_time_s=1.0,
            energy_mj=self.power_w and self.power_w * latency,
        )


@dataclass(frozen=True)
class Story:
    """A whole loop: its plans, the reports they led to, the verdicts, and the last input."""

    plans: tuple[Plan, ...]
    verdicts: tuple[Verdict, ...]
    given: PlanInput

    @property
    def end(self) -> Verdict:
        return self.verdicts[-1]


def live(table: FamilyTable, spec: ProfileSpec, device: Device, max_rounds: int = 8) -> Story:
    """Plan, measure and judge until the verdict; fails if that takes more than `max_rounds`."""
    given = PlanInput(spec=spec, table=table, probes=device.probe(table), max_rounds=max_rounds)
    plans: list[Plan] = []
    verdicts: list[Verdict] = []
    for round in range(1, max_rounds + 1):
        given = given.model_copy(update={"round": round})
        made = plan(given)
        if isinstance(made, Verdict):
            return Story(tuple(plans), (*verdicts, made), given)
        plans.append(made)
        held = made.chunks if made.action is Action.DELIVER else ()
        given = given.model_copy(
            update={
                "reports": (*given.reports, device.report(table, made.student, round)),
                "held": tuple(dict.fromkeys((*given.held, *held))),
            }
        )
        verdicts.append(judge(given))
        given = given.model_copy(update={"next_action": verdicts[-1].next_action})
        if verdicts[-1].kind is not VerdictKind.ADJUST:
            return Story(tuple(plans), tuple(verdicts), given)
    raise AssertionError(f"no verdict after {max_rounds} rounds")


def spec_of(**limits: float) -> ProfileSpec:
    """A profile that leaves room for all, but for `limits`."""
    roomy = {
        "cpu_cores": 1,
        "memory_bytes": 1 << 30,
        "storage_bytes": 1 << 30,
        "latency_p95_ms": 1e6,
        "max_accuracy_drop": 0.04,
    }
    return ProfileSpec.model_validate({**roomy, **limits})


def random_case(seed: int, int8_gain: float | None = None) -> tuple[Device, ProfileSpec]:
    """A device and a profile as the demo's: from a phone to a microcontroller."""
    rng = np.random.default_rng(seed)

    def between(low: float, high: float) -> float:
        return exp(rng.uniform(np.log(low), np.log(high)))

    device = Device(
        slowness=between(3, 200),
        cache_bytes=between(8e3, 1e6),
        int8_gain=int8_gain or rng.uniform(0.7, 0.85),
        offset=rng.normal(0, 0.06),
        samples=int(rng.integers(80, 250)),
        seed=seed,
    )
    spec = ProfileSpec(
        cpu_cores=1,
        memory_bytes=int(between(9e3, 1.6e5)),
        storage_bytes=int(between(2.5e3, 1.2e5)),
        latency_p95_ms=device.slowness * rng.uniform(0.1, 0.35),
        max_accuracy_drop=rng.uniform(0.02, 0.05),
    )
    return device, spec


def truly_meets(spec: ProfileSpec, device: Device, row: StudentFacts) -> bool:
    """What no rule can see: whether the student's true values are within the limits."""
    latency = np.mean([device.latency_ms(row, row.student.bits, run) for run in (101, 102, 103)])
    return bool(
        row.storage_bytes <= spec.storage_bytes
        and row.memory_bytes <= spec.memory_bytes
        and latency <= spec.latency_p95_ms
        and device.true_accuracy(row) >= REGISTERED - spec.max_accuracy_drop
    )
