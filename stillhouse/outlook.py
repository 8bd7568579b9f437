"""What the planner believes of every student of a family, and what follows under given limits.

A belief depends on the device (table, probes, reports) and not on the limits, so a counter-offer
looks at other limits with the same belief. Arrays have one entry a row of the family's table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from statistics import median

import numpy as np
from numpy.typing import NDArray

from stillhouse import cost
from stillhouse.chunks import Routes
from stillhouse.cost import Family, Floats, Normal
from stillhouse.entities import (
    Action,
    ChunkRecipe,
    Constraint,
    DistillationMetric,
    Entity,
    FamilyTable,
    ProbeResult,
    ProfileSpec,
    Student,
    StudentFacts,
    WeightsRecipe,
)
from stillhouse.fleet import FleetPrior
from stillhouse.limits import (
    SIZES,
    accuracy_floor,
    clearly_missed,
    limit,
    measured,
    missed,
    standard_error,
)

Mask = NDArray[np.bool_]

ACCEPT = 0.65  # chance of the accuracy at which a measurement within all limits is believed
STRICT = 0.94  # the same where the profile wants no false accept; its time then needs ACCEPT, too
TIE = 0.02  # chances whose ratio is this close to 1 are the same: fewest new bytes decide
LEAST_POWER_SD = 0.5  # of the log: devices of one fleet differ in power
LEAST_HOPE = 0.01  # before a device's own reports, no prior of energy says less
REPORTS_PER_STUDENT = 3  # the first, and at most two repeats


class PlanInput(Entity):
    """All that `plan` and `judge` read: its fingerprint is their memo key."""

    spec: ProfileSpec
    table: FamilyTable
    probes: tuple[ProbeResult, ...]
    reports: tuple[DistillationMetric, ...] = ()
    inherited: tuple[DistillationMetric, ...] = ()  # of an earlier job: they tell costs alone
    held: tuple[ChunkRecipe, ...] = ()  # chunks that the device holds already
    held_before: tuple[WeightsRecipe, ...] = ()  # of the family that this one is an update of
    public_windows: int = 0  # transfer inputs installed on the device
    fleet: FleetPrior | None = None  # the epoch that was in force when the job's model was pinned
    round: int = 1
    next_action: Action | None = None  # what the last judgement asked for
    max_rounds: int = 8
    seed: int = 0

    @property
    def seen(self) -> tuple[DistillationMetric, ...]:
        """All that tells what a student costs there, oldest first. What it is accurate at after
        training for this job, `reports` alone tell."""
        return (*self.inherited, *self.reports)


@dataclass(frozen=True, slots=True)
class Belief:
    """What table, probes and reports say of every student, whatever the limits."""

    given: PlanInput
    family: Family
    needs: dict[Constraint, Floats]  # bytes
    training_ratio: float  # of the memory that training takes, over the table's
    accuracy: Normal
    latency: Normal  # log ms
    energy: Normal | None  # log mJ; None where no device has reported any

    @property
    def students(self) -> tuple[Student, ...]:
        return tuple(row.student for row in self.given.table.rows)

    def new_bytes(self) -> Callable[[int], float]:
        """What tells how many bytes of weights the device still lacks for a student."""
        given, rows = self.given, self.given.table.rows
        if not given.held and not given.held_before:
            return lambda index: rows[index].wire_bytes
        routes = Routes(given.table, given.held, given.held_before)
        return lambda index: sum(map(routes.new_bytes, routes.to(rows[index].student)))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a belief means under a profile's limits."""

    belief: Belief
    spec: ProfileSpec
    floor: float
    fits: Mask  # sizes by the table
    too_large: Mask  # at least as large as one that measured too slow or too big
    too_small: Mask  # at most as large as one that measured far too inaccurate
    spent: Mask  # tried, and nothing to be gained from trying again
    accurate: Floats  # chance
    in_time: Floats  # chance of latency and energy
    chance: Floats  # that every limit holds

    @property
    def open(self) -> Mask:
        """The students worth a round."""
        return self.fits & ~self.too_large & ~self.too_small & ~self.spent

    def slow(self, index: int) -> Constraint:
        """Which of latency and energy a student is likelier to miss."""
        energy, allowed = self.belief.energy, self.spec.energy_mj
        if energy is None or allowed is None:
            return Constraint.LATENCY
        enough = self.belief.latency.below(log(self.spec.latency_p95_ms))[index]
        scarce = affordable(self.belief, allowed)[index] < enough
        return Constraint.ENERGY if scarce else Constraint.LATENCY

    def choice(self) -> int:
        """The largest chance; ties go to the fewest new bytes. Every student that fits, if none
        is open any more."""
        eligible = self.open if self.open.any() else self.fits
        chance = np.where(eligible, self.chance, -1.0)
        tied = np.flatnonzero(chance >= chance.max() * (1 - TIE))
        new_bytes = self.belief.new_bytes()
        return min(map(int, tied), key=lambda index: (new_bytes(index), -chance[index]))


def believe(given: PlanInput) -> Belief:
    """Fit the posteriors to all that the device has measured, and its fleet before it."""
    family = Family.of(given.table)
    latency = cost.latency(family, given.probes, given.seen, given.fleet)
    ratio = _training_ratio(given, family)
    sizes = {size: _needed(given, family, size) for size in (Constraint.STORAGE, Constraint.MEMORY)}
    least = np.array([row.training_memory_bytes[0] for row in given.table.rows]) * ratio
    return Belief(
        given=given,
        family=family,
        needs={**sizes, Constraint.TRAINING_MEMORY: least},
        training_ratio=ratio,
        accuracy=cost.accuracy(family, given.reports, given.fleet),
        latency=latency,
        energy=_energy(given, latency),
    )


def _energy(given: PlanInput, latency: Normal) -> Normal | None:
    """Time at the device's power: the median of its reports, before them the fleet's (wide).

    A device that has reported, but no energy, cannot tell: the limit is not held against it.
    """
    own = [r.energy_mj / r.latency_p95_ms for r in given.seen if r.energy_mj is not None]
    if own:
        return Normal(latency.mean + log(median(own)), latency.sd)
    if given.seen or given.fleet is None or given.fleet.power is None:
        return None
    power, spread = given.fleet.power
    return Normal(latency.mean + power, np.hypot(latency.sd, max(spread, LEAST_POWER_SD)))


def _needed(given: PlanInput, family: Family, size: Constraint) -> Floats:
    """Bytes of each student on this device: the table's, times what reports measured over them.

    A runtime that takes twice the memory for one student does so for all.
    """
    table = np.array([getattr(row, size.value) for row in given.table.rows], float)
    at = family.at(report.student for report in given.seen)
    values = [measured(report, size) for report in given.seen]
    ratios = [v / table[i] for i, v in zip(at, values, strict=True) if v is not None]
    return table * float(median(ratios)) if ratios else table


def trainable(facts: StudentFacts, allowed: float, ratio: float = 1.0) -> int:
    """The index in TRAINABLE of the largest share that trains within `allowed` bytes; else 0."""
    fitting = (
        index for index, need in enumerate(facts.training_memory_bytes) if need * ratio <= allowed
    )
    return max(fitting, default=0)


def _training_ratio(given: PlanInput, family: Family) -> float:
    """What training measured over the table: each report against the share that was planned, which
    follows from the reports before it."""
    allowed = limit(given.spec, Constraint.TRAINING_MEMORY)
    ratios: list[float] = []
    for at, report in zip(family.at(r.student for r in given.seen), given.seen, strict=True):
        if report.training_memory_bytes is not None:
            facts = given.table.rows[at]
            share = trainable(facts, allowed, median(ratios or [1.0]))
            ratios.append(report.training_memory_bytes / facts.training_memory_bytes[share])
    return median(ratios or [1.0])


def look(belief: Belief, spec: ProfileSpec) -> Outlook:
    """The outlook under `spec`, which need not be the limits that the reports came from."""
    floor = accuracy_floor(spec, belief.given.table.registered_accuracy)
    fits = np.logical_and.reduce([belief.needs[size] <= limit(spec, size) for size in SIZES])
    too_large, too_small = _ruled_out(belief, spec, floor)
    accurate = belief.accuracy.above(floor)
    in_time = belief.latency.below(log(spec.latency_p95_ms))
    if belief.energy is not None and spec.energy_mj is not None:
        # Time at one power: the two limits hold or fall together.
        in_time = np.minimum(in_time, affordable(belief, spec.energy_mj))
    return Outlook(
        belief=belief,
        spec=spec,
        floor=floor,
        fits=fits,
        too_large=too_large,
        too_small=too_small,
        spent=_spent(belief, spec, floor, accurate, in_time),
        accurate=accurate,
        in_time=in_time,
        chance=accurate * in_time * (fits & ~too_large & ~too_small),
    )


def affordable(belief: Belief, energy_mj: float) -> Floats:
    """The chance of each student to need no more energy; the fleet's power rules nothing out."""
    assert belief.energy is not None  # noqa: S101  asked for where it is known alone
    chance = belief.energy.below(log(energy_mj))
    return chance if belief.given.seen else np.maximum(chance, LEAST_HOPE)


def repeat(spec: ProfileSpec, floor: float, trials: list[DistillationMetric]) -> Action | None:
    """What doing the same student again could still gain, from all `trials` of it; None: nothing.

    The held-out recordings stay the same, so a second measurement tells of noise in time and energy
    alone: one that is missed by no more than that is measured once more. An accuracy missed by no
    more than its standard error is trained for, until a result comes back or the trials are used
    up: so no loop stays with one student.
    """
    last = trials[-1]
    misses = missed(spec, floor, last)
    if misses == (Constraint.TRAINING_MEMORY,):
        return Action.TRAIN if len(trials) == 1 else None  # with fewer blocks
    if not misses or clearly_missed(spec, floor, last):
        return None
    if misses == (Constraint.ACCURACY,):
        new = len(trials) < REPORTS_PER_STUDENT and len(cost.distinct(trials)) == len(trials)
        return Action.TRAIN if new else None
    noise_alone = Constraint.ACCURACY not in misses and len(trials) == 1
    return Action.MEASURE if noise_alone else None


def trials_of(given: PlanInput, student: Student) -> list[DistillationMetric]:
    """The reports of one student, in order."""
    return [report for report in given.reports if report.student == student]


def _ruled_out(belief: Belief, spec: ProfileSpec, floor: float) -> tuple[Mask, Mask]:
    """Students that are larger than a measured one that was too large, or smaller than one that
    was too inaccurate, by more than noise explains."""
    points, given, family = belief.family.points, belief.given, belief.family
    too_large, too_small = np.zeros((2, len(points)), bool)
    for index, report in zip(family.at(r.student for r in given.seen), given.seen, strict=True):
        here = points[index]
        if set(clearly_missed(spec, floor, report)) - {
            Constraint.ACCURACY,
            Constraint.TRAINING_MEMORY,  # fewer blocks may train: what is needed has the last word
        }:
            # A slow path for quantised weights says nothing of fp32, which takes another.
            same_path = (points[:, -1] < 32) == (here[-1] < 32)
            too_large |= (points >= here).all(1) & same_path
    own = family.at(report.student for report in given.reports)
    for index, report in zip(own, given.reports, strict=True):
        if report.accuracy < floor - 2 * standard_error(report):
            too_small |= (points <= points[index]).all(1)
    return too_large, too_small


def accepted(spec: ProfileSpec, accurate: float, in_time: float) -> bool:
    """Whether a measurement within every limit is believed, at these chances that it is true."""
    if spec.strict:
        return accurate >= STRICT and in_time >= ACCEPT
    return accurate >= ACCEPT


def _spent(
    belief: Belief, spec: ProfileSpec, floor: float, accurate: Floats, in_time: Floats
) -> Mask:
    given, spent = belief.given, np.zeros(len(belief.accuracy.mean), bool)
    students = [report.student for report in given.reports]
    for index, student in zip(belief.family.at(students), students, strict=True):
        trials = trials_of(given, student)
        good = not missed(spec, floor, trials[-1])
        good = good and accepted(spec, accurate[index], in_time[index])
        spent[index] = not good and repeat(spec, floor, trials) is None
    return spent
