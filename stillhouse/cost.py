"""What a student will cost and give on one device: latency and accuracy, each with its doubt.

Both are Gaussian processes over the students of a family, conditioned on what the device measured
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2.2). The latency of a student is
never guessed from MACs alone, along which it hardly varies, but from layers and MACs, fitted to the
device's probe networks. Arrays have one entry a row of the family's table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import erf, exp, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stillhouse.entities import DistillationMetric, FamilyTable, ProbeResult, Student
from stillhouse.fleet import MEDIAN_LOSS, PEOPLE_SD, FleetPoint, FleetPrior
from stillhouse.limits import standard_error

Floats = NDArray[np.float64]

MACS_PER_LAYER = 510e3  # a host's time for one more layer, in MACs: the shape before any probe
HOST_MS_PER_LAYER = 0.02
SHAPE_SD = 2.0  # of the fitted coefficients against the host's; with PROBE_NOISE the ridge
COEFFICIENTS = 3  # constant, layers, MACs: fewer probes teach the slowness alone
PROBE_NOISE = 0.03
LEAST_SHARE = 0.02  # of the host's shape: a fit on four probes never predicts less time than this
SLOWNESS_SD = 0.1  # d0, with probes
UNKNOWN_SLOWNESS_SD = 3.0  # d0, where no probe fitted the device's memory
UNFITTED_SD = 0.3  # of a student from the host's shape, where the device's was not fitted
LEAST_GAIN_SD = 0.1  # however alike the fleet's devices are: the next one may be another kind
QUANTISED_GAIN = (-0.25, 0.2)  # d_bits: mean and sd of the log latency against fp32
FIT_SD, RUN_SD = 0.052, 0.03  # s = .06: what a student keeps over its runs, and what each run adds
SMOOTH_SHARE = 0.7  # of FIT_SD's variance: what students of like shapes have in common

STUDENT_SD = 0.01  # of one student against the others on that person: .002 to .017 as measured
WIDTH_SCALE, DEPTH_SCALE, BITS_SCALE = 0.3, 0.5, 2.0  # how far two students tell of each other
FAR_OUT = 2  # deviations: a person farther from all others is none of that crowd
SAME_WINDOWS = 0.6  # of a measurement's variance: students are measured on the same windows
TABLE_SD = 0.03  # of the fleet from the table, all students together
FLEET_SD = 0.012  # what a median of the fleet may be off for this device: wide


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution a student."""

    mean: Floats
    sd: Floats

    def below(self, limit: float) -> Floats:
        """The chance of each to lie at or below `limit`."""
        z = (limit - self.mean) / (self.sd * sqrt(2))
        return np.array([0.5 * (1 + erf(value)) for value in z])

    def above(self, limit: float) -> Floats:
        """The chance of each to lie at or above `limit`."""
        return 1 - self.below(limit)

    def quantile(self, index: int, chance: float) -> float:
        """The value that student `index` stays below with probability `chance` (0 < chance < 1)."""
        return float(self.mean[index] + self.sd[index] * NormalDist().inv_cdf(chance))


@dataclass(frozen=True, slots=True)
class Family:
    """A table as arrays: what every posterior of it is made of."""

    table: FamilyTable
    points: Floats  # [students, 2 + stages]: width, depth of each stage, bits; as large as they
    places: dict[tuple[float, ...], int]
    shapes: dict[tuple[float, ...], int]  # without the bits
    host: Floats  # the host's time in layers: the shape before any probe
    shares: Floats  # [students, 3]: of the host's time, what each coefficient changes
    accuracy: Floats
    near: Floats  # [students, students]: how much two tell of each other's accuracy
    near_shape: Floats  # the same of latency; 1 for one shape

    @classmethod
    def of(cls, table: FamilyTable) -> "Family":
        students = [_point(row.student) for row in table.rows]
        points = np.array(students)
        layers = np.array([row.layers for row in table.rows], float)
        macs = np.array([row.macs for row in table.rows], float) / MACS_PER_LAYER
        host = layers + macs
        depth = points[:, 1:-1] / points[:, 1:-1].max(0) / DEPTH_SCALE
        shape = np.column_stack([points[:, 0] / WIDTH_SCALE, depth])
        apart = _distances(shape)
        bits = _distances(np.log2(points[:, -1:]) / BITS_SCALE)
        alike = apart == 0
        return cls(
            table=table,
            points=points,
            places={student: index for index, student in enumerate(students)},
            shapes={student[:-1]: index for index, student in enumerate(students)},
            host=host,
            shares=np.stack([np.full_like(host, host.mean()), layers, macs], 1) / host[:, None],
            accuracy=np.array([row.accuracy for row in table.rows]),
            near=np.exp(-0.5 * (apart + bits)),
            near_shape=SMOOTH_SHARE * np.exp(-0.5 * apart) + (1 - SMOOTH_SHARE) * alike,
        )

    def at(self, students: Iterable[Student]) -> list[int]:
        """The rows of `students`; KeyError if the family has none such."""
        return [self.places[_point(student)] for student in students]


def latency(
    family: Family,
    probes: Sequence[ProbeResult],
    reports: Sequence[DistillationMetric],
    fleet: FleetPrior | None = None,
) -> Normal:
    """The log of the p95 in ms that each student will measure: log f + d0 + d_bits + noise.

    A student of 4 bits computes like one of 8: both learn the same gain over fp32. What the fit
    misses, students of like shapes share.
    """
    quantised = (family.points[:, -1] < 32).astype(float)
    gain, gain_sd = (fleet and fleet.quantised_gain) or QUANTISED_GAIN
    gain_sd = max(gain_sd, LEAST_GAIN_SD)
    slowness_sd = SLOWNESS_SD if probes else UNKNOWN_SLOWNESS_SD
    fit_sd = FIT_SD if len(probes) >= COEFFICIENTS else UNFITTED_SD
    kernel = fit_sd**2 * family.near_shape + slowness_sd**2
    kernel += gain_sd**2 * np.outer(quantised, quantised)
    observed = np.log([report.latency_p95_ms for report in reports])
    prior = np.log(shape_ms(family, probes, fleet)) + gain * quantised
    seen = family.at(report.student for report in reports)
    posterior = _normal(*_condition(prior, kernel, seen, observed, RUN_SD**2 * np.eye(len(seen))))
    return Normal(posterior.mean, np.hypot(posterior.sd, RUN_SD))


def shape_ms(
    family: Family, probes: Sequence[ProbeResult], fleet: FleetPrior | None = None
) -> Floats:
    """f: the p95 in ms of each student's shape in fp32, by ridge regression on layers and MACs.

    The ridge pulls towards the fleet's shape, or the host's, times the device's slowness; errors
    are relative. Too few probes for the coefficients teach the slowness alone.
    """
    host = family.host
    if fleet is not None:
        host = host * np.maximum(1 + family.shares @ np.array(fleet.shape), LEAST_SHARE)
    if not probes:
        return host * HOST_MS_PER_LAYER
    slowness, change = shape_of(family, probes, host)
    fitted: Floats = host * slowness
    if change is not None:
        fitted += family.host * slowness * (family.shares @ change)
    return np.maximum(fitted, LEAST_SHARE * host * slowness)


def shape_of(
    family: Family, probes: Sequence[ProbeResult], host: Floats
) -> tuple[float, Floats | None]:
    """The device's slowness against `host`, and what that leaves to the three coefficients; None
    where there are too few probes to tell."""
    seen = [family.shapes[_point(probe.student)[:-1]] for probe in probes]
    ratio = np.array([probe.latency_p95_ms for probe in probes]) / host[seen]
    slowness = exp(float(np.log(ratio).mean()))
    if len(probes) < COEFFICIENTS:
        return slowness, None
    X = family.shares[seen] * (family.host[seen] / host[seen])[:, None]
    ridge = (PROBE_NOISE / SHAPE_SD) ** 2 * np.eye(COEFFICIENTS)
    return slowness, np.asarray(
        np.linalg.solve(X.T @ X + ridge, X.T @ (ratio / slowness - 1)), float
    )


def accuracy(
    family: Family, reports: Sequence[DistillationMetric], fleet: FleetPrior | None = None
) -> Normal:
    """The true accuracy of each student on this person, after training there.

    The fleet's medians first say where its devices lie from the table; a person lies around that.
    """
    prior, people_sd = family.accuracy, PEOPLE_SD
    kernel = STUDENT_SD**2 * family.near
    if fleet is not None and fleet.points:
        people_sd = fleet.people_sd
        table: Floats = TABLE_SD**2 + kernel
        at = family.at(point.student for point in fleet.points)
        medians = prior[at] + np.array([point.offset for point in fleet.points])
        error = [FLEET_SD**2 + _of_median(point, people_sd) for point in fleet.points]
        prior, doubt = _condition(prior, table, at, medians, np.diag(error))
        kernel = kernel + doubt
    fresh = distinct(reports)
    seen = family.at(report.student for report in fresh)
    observed = np.array([report.accuracy for report in fresh])
    if fresh:
        people_sd = max(people_sd, abs(float((observed - prior[seen]).mean())) / FAR_OUT)
    kernel = kernel + people_sd**2
    errors = np.array([standard_error(report) for report in fresh])
    noise = np.outer(errors, errors) * SAME_WINDOWS
    np.fill_diagonal(noise, errors**2)
    return _normal(*_condition(prior, kernel, seen, observed, noise))


def _of_median(point: FleetPoint, people_sd: float) -> float:
    """The variance of a fleet's median."""
    return MEDIAN_LOSS * max(point.spread, people_sd) ** 2 / point.devices


def distinct(reports: Sequence[DistillationMetric]) -> list[DistillationMetric]:
    """Without repeats of one result: the same student on the same held-out data is no new fact."""
    unique = {(*_point(r.student), r.accuracy, r.samples): r for r in reversed(reports)}
    return list(reversed(unique.values()))


def measured_over_predicted(
    family: Family, probes: Sequence[ProbeResult], reports: Sequence[DistillationMetric]
) -> float:
    """The last report's latency over what was expected before it came."""
    *earlier, last = reports
    expected = latency(family, probes, earlier).mean[family.at([last.student])[0]]
    return exp(log(last.latency_p95_ms) - float(expected))


def _condition(
    prior: Floats, kernel: Floats, seen: list[int], observed: Floats, noise: Floats
) -> tuple[Floats, Floats]:
    """Mean and covariance of a Gaussian process at every student, after noisy values at some."""
    at = np.array(seen, dtype=int)
    across = kernel[at]
    gain = np.linalg.solve(across[:, at] + noise, across).T
    return prior + gain @ (observed - prior[at]), kernel - gain @ across


def _normal(mean: Floats, covariance: Floats) -> Normal:
    return Normal(mean, np.sqrt(np.maximum(np.diag(covariance), 1e-10)))


def _distances(features: Floats) -> Floats:
    """Squared, of each row to each."""
    squares = np.zeros((len(features), len(features)))
    for column in features.T:
        squares += np.subtract.outer(column, column) ** 2
    return squares


def _point(student: Student) -> tuple[float, ...]:
    return (student.width, *student.depths, student.bits)
