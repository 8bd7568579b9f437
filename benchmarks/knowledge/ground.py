"""What is true of a family and its devices, and hidden from every planner that is measured.

A ground is a family's table with the accuracy of each student on each person and the host's latency
of each shape. People are drawn around the table, as far from it as clients were measured to lie.
A device is the host's latency times its slowness, a cache cliff, an unknown gain of int8 and 3 %
noise; one person wears it. A profile is built around a student that exists plus a margin, or is
tightened until no student is left: so what is possible is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from stillhouse.entities import (
    TRAINABLE,
    DistillationMetric,
    FamilyGrid,
    FamilyTable,
    ProbeResult,
    ProfileSpec,
    Student,
    StudentFacts,
)

Floats = NDArray[np.float64]
RUN_SD = 0.03  # of a latency, from one measurement to the next
SAME_WINDOWS = 0.6  # of a measured accuracy's variance: all students are measured on one set
SAME_STUDENT = 0.25  # the same of one student, however often it is trained anew
ROOMY = 0.5  # of the limits of size: they do not bind
MARGIN = (1.0, 3.0)  # of the accuracy, in standard errors of what the device can measure
FEASIBLE = 0.75  # of the profiles
SLOW_INT8 = 0.08  # of the devices: their int8 path is slower than float32's
BEST = 0.995  # a few hundred windows without an error show no more
OWN = 0.28  # assumed: of a student's variance on a person, what no like student shares
PEOPLE = 167  # of a ground: as many as it has devices


@dataclass(frozen=True, slots=True)
class Spread:
    """How the accuracy of trained students lies around the table's: a mean, and deviations."""

    shift: float  # of everybody and all students
    person: float  # of all students together on one person
    fleet: float  # of one student against the others, on everybody
    student: float  # the same on one person


@dataclass(frozen=True, slots=True)
class Ground:
    """The truth of one family; arrays have one entry a row of the table."""

    name: str
    table: FamilyTable
    accuracy: Floats  # [people, students], after training on that person's recordings
    host_ms: Floats  # of the student's shape in float32

    def place(self, student: Student) -> int:
        return next(i for i, row in enumerate(self.table.rows) if row.student == student)


@dataclass(frozen=True, slots=True)
class Device:
    """One device with the person who wears it."""

    ground: Ground
    accuracy: Floats
    latency_ms: Floats
    probe_ms: tuple[float, ...]
    memory: float  # what its runtime takes, over the table's
    windows: int  # held out
    seed: int

    @classmethod
    def drawn(cls, ground: Ground, seed: int) -> "Device":
        rng = np.random.default_rng([seed, 1])
        slowness, cache = (between(rng, *span) for span in ((3, 200), (8e3, 1e6)))
        slow_path = rng.random() < SLOW_INT8
        gain = rng.uniform(1.2, 2.2) if slow_path else rng.uniform(0.7, 0.85)
        rows = ground.table.rows
        bits = np.array([row.student.bits for row in rows])
        parameters = np.array([row.parameters for row in rows])
        cliff, float_cliff = (
            np.where(parameters * size > cache, 1.25, 1.0) for size in (bits / 8, 4)
        )
        shapes = {(r.student.width, r.student.depths): i for i, r in enumerate(rows)}
        probes = [shapes[probe.width, probe.depths] for probe in ground.table.probes]
        plain = slowness * ground.host_ms
        measured = (plain * float_cliff)[probes] * np.exp(RUN_SD * rng.standard_normal(len(probes)))
        return cls(
            ground=ground,
            accuracy=ground.accuracy[rng.integers(len(ground.accuracy))],
            latency_ms=plain * cliff * np.where(bits < 32, gain, 1.0),
            probe_ms=tuple(map(float, measured)),
            memory=between(rng, 0.97, 1.06),
            windows=int(rng.integers(120, 400)),
            seed=seed,
        )

    def probes(self) -> tuple[ProbeResult, ...]:
        return tuple(
            ProbeResult(student=student, latency_p50_ms=ms / 1.05, latency_p95_ms=ms)
            for student, ms in zip(self.ground.table.probes, self.probe_ms, strict=True)
        )

    def report(self, student: Student, round: int) -> DistillationMetric:
        """What it measures of a student; the held-out windows are the same in every round."""
        at = self.ground.place(student)
        row, true = self.ground.table.rows[at], float(self.accuracy[at])
        shared = np.random.default_rng([self.seed, 2]).standard_normal()
        own = np.random.default_rng([self.seed, 3, at]).standard_normal()
        run, again = np.random.default_rng([self.seed, 4, at, round]).standard_normal(2)
        drawn = sqrt(SAME_WINDOWS) * shared + sqrt(SAME_STUDENT) * own
        drawn += sqrt(1 - SAME_WINDOWS - SAME_STUDENT) * again
        right = true * self.windows + sqrt(true * (1 - true) * self.windows) * drawn
        accuracy = min(max(round_(right), 0), self.windows) / self.windows
        latency = float(self.latency_ms[at]) * exp(RUN_SD * run)
        return DistillationMetric(
            round=round,
            student=student,
            accuracy=accuracy,
            accuracy_se=sqrt(accuracy * (1 - accuracy) / self.windows),
            samples=self.windows,
            latency_p50_ms=latency / 1.05,
            latency_p95_ms=latency,
            peak_memory_bytes=int(self.memory * row.memory_bytes),
            storage_bytes=row.storage_bytes,
            training_time_s=1.0,
        )

    def meets(self, spec: ProfileSpec) -> NDArray[np.bool_]:
        """Which students are within every limit, in truth."""
        rows = self.ground.table.rows
        storage = np.array([row.storage_bytes for row in rows])
        memory = np.array([row.memory_bytes for row in rows]) * self.memory
        floor = self.ground.table.registered_accuracy - spec.max_accuracy_drop
        sizes = (storage <= spec.storage_bytes) & (memory <= spec.memory_bytes)
        right: NDArray[np.bool_] = self.accuracy >= floor
        return sizes & right & (self.latency_ms <= spec.latency_p95_ms)


def profile(device: Device) -> tuple[ProfileSpec, bool]:
    """A profile of this device, and whether any student meets it in truth."""
    rng = np.random.default_rng([device.seed, 5])
    table = device.ground.table
    at = int(rng.choice(sensible(device)))
    row = table.rows[at]
    roomy = rng.random(2) < ROOMY
    sizes = np.exp(np.where(roomy, rng.uniform(0.5, 2.5, 2), rng.uniform(0.02, 0.3, 2)))
    true = float(device.accuracy[at])
    margin = rng.uniform(*MARGIN) * sqrt(true * (1 - true) / device.windows)
    drop = table.registered_accuracy - true + margin
    limits = {
        "storage_bytes": row.storage_bytes * sizes[0],
        "memory_bytes": row.memory_bytes * device.memory * sizes[1],
        "latency_p95_ms": float(device.latency_ms[at]) * exp(rng.uniform(0.04, 0.2)),
        "max_accuracy_drop": min(max(drop, 0.0), 0.9),
    }
    if rng.random() < FEASIBLE:
        return spec_of(limits), True
    tightened = ("storage_bytes", "memory_bytes", "latency_p95_ms", "max_accuracy_drop")
    which = str(rng.choice(tightened))
    for _ in range(400):
        if which == "max_accuracy_drop" and limits[which] == 0:
            which = "latency_p95_ms"
        if not device.meets(spec_of(limits)).any():
            break
        limits[which] = tighter(which, limits[which])
    limits[which] = tighter(which, limits[which], rng.uniform(1, 6))
    return spec_of(limits), False


def sensible(device: Device) -> list[int]:
    """Students that no other beats in accuracy, time and size at once on this device."""
    storage = [row.storage_bytes for row in device.ground.table.rows]
    costs = np.stack([-device.accuracy, device.latency_ms, storage], 1)
    return [
        index
        for index, here in enumerate(costs)
        if not ((costs <= here).all(1) & (costs < here).any(1)).any()
    ]


def tighter(which: str, value: float, steps: float = 1) -> float:
    """A step of 5 %, or half a point of accuracy."""
    if which == "max_accuracy_drop":
        return max(value - 0.005 * steps, 0.0)
    return value * exp(-0.05 * steps)


def spec_of(limits: dict[str, float]) -> ProfileSpec:
    sizes = {name: max(int(limits[name]), 1) for name in ("storage_bytes", "memory_bytes")}
    return ProfileSpec.model_validate({"cpu_cores": 1, **limits, **sizes})


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform."""
    return exp(rng.uniform(log(low), log(high)))


def round_(value: float) -> int:
    return int(value + 0.5)


def people(rows: Sequence[StudentFacts], spread: Spread, seed: int) -> Floats:
    """[people, students]: the true accuracy of each student on each, after training there.

    A student shares most of its deviations with students of like shape and bits.
    """
    rng = np.random.default_rng([seed, 8])
    points = np.array([(r.student.width, *r.student.depths, np.log2(r.student.bits)) for r in rows])
    scaled = points / np.array([0.3, *[1.5] * (points.shape[1] - 2), 2.0])
    near = np.exp(-0.5 * ((scaled[:, None] - scaled[None]) ** 2).sum(-1))
    smooth = np.linalg.cholesky(near + 1e-6 * np.eye(len(near)))

    def draw(sd: float, count: int) -> Floats:
        values: Floats = sd * rng.standard_normal((count, len(rows))) @ smooth.T
        return values

    table = np.array([row.accuracy for row in rows])
    everybody = table + spread.shift + draw(spread.fleet, 1)
    each = everybody + spread.person * rng.standard_normal((PEOPLE, 1))
    each += draw(spread.student * sqrt(1 - OWN), PEOPLE)
    each += spread.student * sqrt(OWN) * rng.standard_normal(each.shape)
    found: Floats = np.clip(each, 0.05, BEST)
    return found


def spreads(samples: Sequence[Floats]) -> list[Spread]:
    """One for each sample, alike but for the shift; each [2, clients, students], of one family.

    Covariances between the two measurements, which share no recording, leave out the noise of both;
    their square roots are the deviations (a component below nothing is none).
    """
    together, own, common = [], [], []
    for sample in samples:
        means = sample.mean(axis=2)
        together.append(float(np.cov(means)[0, 1]))
        first, second = sample - means[:, :, None]
        pairs = first @ second.T / (sample.shape[2] - 1)  # [clients, clients]
        own.append(float(np.diag(pairs).mean()))
        common.append(float(pairs[~np.eye(len(pairs), dtype=bool)].mean()))
    fleet = max(float(np.mean(common)), 0.0)
    return [
        Spread(
            shift=float(sample.mean()),
            person=max(float(np.mean(together)), 0.0) ** 0.5,
            fleet=fleet**0.5,
            student=max(float(np.mean(own)) - fleet, 0.0) ** 0.5,
        )
        for sample in samples
    ]


# --- a ground without a training run --------------------------------------------------------------


def drawn(seed: int) -> Ground:
    """Tables and truths like those measured on the wrist data, drawn instead of trained: for tests
    and for tuning, apart from what is reported."""
    rng = np.random.default_rng([seed, 6])
    grid = FamilyGrid()
    rows = tuple(facts(student) for student in grid.students())
    spread = Spread(shift=rng.normal(0, 0.015), person=0.06, fleet=0.008, student=0.0094)
    macs = np.array([row.macs for row in rows])
    layers = np.array([row.layers for row in rows])
    shape = {r.student.model_copy(update={"bits": 8}): rng.standard_normal() for r in rows}
    rough = np.array([shape[r.student.model_copy(update={"bits": 8})] for r in rows])
    host = (0.0205 * layers + 4e-8 * macs - 0.01) * np.exp(0.02 * rough)
    return Ground(
        name=f"drawn-{seed}",
        table=FamilyTable(
            family_digest=f"{seed:064x}",
            registered_accuracy=0.94,
            registered_accuracy_se=0.02,
            outputs=7,
            rows=rows,
            probes=grid.probes(),
        ),
        accuracy=people(rows, spread, seed),
        host_ms=host,
    )


def facts(student: Student) -> StudentFacts:
    """Numbers like those of the demo's one-dimensional residual network."""
    first, second = student.depths
    narrow, wide = 32 * student.width, 64 * student.width
    parameters = 30 * narrow + 11 * narrow**2 + narrow * wide * 6 + 5 * wide**2 + 7 * wide
    parameters += (first - 1) * 10 * narrow**2 + (second - 1) * 10 * wide**2
    macs = 1500 * narrow + 275 * narrow**2 + 13 * (narrow * wide * 6 + 5 * wide**2)
    macs += (first - 1) * 250 * narrow**2 + (second - 1) * 130 * wide**2
    size = int(parameters * student.bits / 8 + 600)
    small = 0.03 * (1 - student.width) + 0.02 * (1 - (first + second) / 6)
    loss = small + 0.01 * (student.bits == 4)
    return StudentFacts(
        student=student,
        accuracy=0.95 - 0.5 * loss,
        agreement=0.975 - loss,
        parameters=int(parameters),
        wire_bytes=size,
        storage_bytes=size,
        memory_bytes=int(size + 12_000 * student.width + 2400),
        training_memory_bytes=tuple(
            int(parameters * (4 + 8 * share) + 900_000 * student.width * (0.3 + 0.7 * share))
            for share in TRAINABLE
        ),
        layers=4 + 2 * first + 2 * second,
        macs=int(macs),
    )
