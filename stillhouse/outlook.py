"""What the planner believes of every student of a family, and what follows under given limits.

A belief depends on the device (table, probes, reports) and not on the limits, so a counter-offer
looks at other limits with the same belief. Arrays have one entry a row of the family's table.
"""

from dataclasses import dataclass
from math import inf, log
from statistics import median

import numpy as np
from numpy.typing import NDArray

from stillhouse import cost
from stillhouse.chunks import new_wire_bytes
from stillhouse.cost import Floats, Normal
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
)
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

ACCEPT = 0.7  # chance of the accuracy at which a measurement within all limits is believed
TIE = 0.02  # chances whose ratio is this close to 1 are the same: fewest new bytes decide
REPORTS_PER_STUDENT = 3  # the first, and at most two repeats


class PlanInput(Entity):
    """All that `plan` and `judge` read: its fingerprint is their memo key."""

    spec: ProfileSpec
    table: FamilyTable
    probes: tuple[ProbeResult, ...]
    reports: tuple[DistillationMetric, ...] = ()
    inherited: tuple[DistillationMetric, ...] = ()  # of an earlier job: they tell costs alone
    held: tuple[ChunkRecipe, ...] = ()  # chunks that the device holds already
    public_windows: int = 0  # transfer inputs installed on the device
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
    points: Floats  # coordinates of the students
    needs: dict[Constraint, Floats]  # bytes
    accuracy: Normal
    latency: Normal  # log ms
    power: float | None  # mJ a ms; energy is time times this

    @property
    def students(self) -> tuple[Student, ...]:
        return tuple(row.student for row in self.given.table.rows)


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

    def choice(self) -> int:
        """The largest chance; ties go to the fewest new bytes. Every student that fits, if none
        is open any more."""
        given = self.belief.given
        eligible = self.open if self.open.any() else self.fits
        chance = np.where(eligible, self.chance, -1.0)
        tied = np.flatnonzero(chance >= chance.max() * (1 - TIE))
        held = frozenset(given.held)

        def order(index: int) -> tuple[int, float]:
            row = given.table.rows[index]
            new = new_wire_bytes(given.table, row.student, held) if held else row.wire_bytes
            return new, -chance[index]

        return min(map(int, tied), key=order)


def believe(given: PlanInput) -> Belief:
    """Fit both posteriors to all that the device has measured."""
    reports = given.reports
    power = [r.energy_mj / r.latency_p95_ms for r in given.seen if r.energy_mj is not None]
    return Belief(
        given=given,
        points=cost.coordinates(given.table),
        needs={size: _needed(given, size) for size in SIZES},
        accuracy=cost.accuracy(given.table, reports),
        latency=cost.latency(given.table, given.probes, given.seen),
        power=median(power) if power else None,
    )


def _needed(given: PlanInput, size: Constraint) -> Floats:
    """Bytes of each student on this device: the table's, times what reports measured over them.

    A runtime that takes twice the memory for one student does so for all.
    """
    table = np.array([getattr(row, size.value) for row in given.table.rows], float)
    at = cost.positions(given.table, [report.student for report in given.seen])
    values = [measured(report, size) for report in given.seen]
    ratios = [v / table[i] for i, v in zip(at, values, strict=True) if v is not None]
    return table * float(median(ratios)) if ratios else table


def look(belief: Belief, spec: ProfileSpec) -> Outlook:
    """The outlook under `spec`, which need not be the limits that the reports came from."""
    floor = accuracy_floor(spec, belief.given.table.registered_accuracy)
    fits = np.logical_and.reduce([belief.needs[size] <= limit(spec, size) for size in SIZES])
    too_large, too_small = _ruled_out(belief, spec, floor)
    accurate = belief.accuracy.above(floor)
    in_time = belief.latency.below(log(time_limit_ms(belief, spec)))
    return Outlook(
        belief=belief,
        spec=spec,
        floor=floor,
        fits=fits,
        too_large=too_large,
        too_small=too_small,
        spent=_spent(belief, spec, floor, accurate),
        accurate=accurate,
        in_time=in_time,
        chance=accurate * in_time * (fits & ~too_large & ~too_small),
    )


def time_limit_ms(belief: Belief, spec: ProfileSpec) -> float:
    """The latency at which the first of latency and energy reaches its limit."""
    energy = limit(spec, Constraint.ENERGY)
    return min(spec.latency_p95_ms, energy / belief.power if belief.power else inf)


def repeat(spec: ProfileSpec, floor: float, trials: list[DistillationMetric]) -> Action | None:
    """What doing the same student again could still gain, from all `trials` of it; None: nothing.

    The held-out recordings stay the same, so a second measurement tells of noise in time and energy
    alone: one that is missed by no more than that is measured once more. An accuracy missed by no
    more than its standard error is trained for, until a result comes back or the trials are used
    up: so no loop stays with one student.
    """
    last = trials[-1]
    misses = missed(spec, floor, last)
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
    points, given = belief.points, belief.given
    too_large, too_small = np.zeros((2, len(points)), bool)
    places = cost.positions(given.table, [report.student for report in given.seen])
    for index, report in zip(places, given.seen, strict=True):
        here = points[index]
        if set(clearly_missed(spec, floor, report)) - {Constraint.ACCURACY}:
            # A slow path for quantised weights says nothing of fp32, which takes another.
            same_path = (points[:, -1] < 32) == (here[-1] < 32)
            too_large |= (points >= here).all(1) & same_path
    places = cost.positions(given.table, [report.student for report in given.reports])
    for index, report in zip(places, given.reports, strict=True):
        if report.accuracy < floor - 2 * standard_error(report):
            too_small |= (points <= points[index]).all(1)
    return too_large, too_small


def _spent(belief: Belief, spec: ProfileSpec, floor: float, accurate: Floats) -> Mask:
    given, spent = belief.given, np.zeros(len(belief.points), bool)
    students = [report.student for report in given.reports]
    for index, student in zip(cost.positions(given.table, students), students, strict=True):
        trials = trials_of(given, student)
        accepted = not missed(spec, floor, trials[-1]) and accurate[index] >= ACCEPT
        spent[index] = not accepted and repeat(spec, floor, trials) is None
    return spent
