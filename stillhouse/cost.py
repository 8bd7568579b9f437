"""What a student will cost and give on one device: latency and accuracy, each with its doubt.

Both are Gaussian processes over the students of a family, conditioned on what the device measured
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2.2). The latency of a student is
never guessed from MACs alone, along which it hardly varies, but from layers and MACs, fitted to the
device's probe networks. Arrays have one entry a row of the family's table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, exp, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stillhouse.entities import DistillationMetric, FamilyTable, ProbeResult, Student
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
QUANTISED_GAIN = (-0.25, 0.2)  # d_bits: mean and sd of the log latency against fp32
FIT_SD, RUN_SD = 0.052, 0.03  # s = .06: what a student keeps over its runs, and what each run adds

PEOPLE_SD = 0.06  # of a person's offset from the table
STUDENT_SD = 0.008  # of one student against the others on that person
WIDTH_SCALE, DEPTH_SCALE, BITS_SCALE = 0.3, 0.5, 2.0  # how far two students tell of each other


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


def coordinates(table: FamilyTable) -> Floats:
    """[students, 2 + stages]: width, depth of each stage, bits; larger is nowhere smaller."""
    return np.array([_point(row.student) for row in table.rows])


def positions(table: FamilyTable, students: Sequence[Student]) -> list[int]:
    """The rows of `students`; KeyError if the family has none such."""
    rows = {_point(row.student): index for index, row in enumerate(table.rows)}
    return [rows[_point(student)] for student in students]


def latency(
    table: FamilyTable, probes: Sequence[ProbeResult], reports: Sequence[DistillationMetric]
) -> Normal:
    """The log of the p95 in ms that each student will measure: log f + d0 + d_bits + noise.

    A student of 4 bits computes like one of 8: both learn the same gain over fp32.
    """
    points = coordinates(table)
    quantised = (points[:, -1] < 32).astype(float)
    alike = (points[:, None, :-1] == points[None, :, :-1]).all(-1)  # one shape, whatever its bits
    gain, gain_sd = QUANTISED_GAIN
    slowness_sd = SLOWNESS_SD if probes else UNKNOWN_SLOWNESS_SD
    fit_sd = FIT_SD if len(probes) >= COEFFICIENTS else UNFITTED_SD
    kernel = slowness_sd**2 + gain_sd**2 * np.outer(quantised, quantised) + fit_sd**2 * alike
    seen = positions(table, [report.student for report in reports])
    observed = np.log([report.latency_p95_ms for report in reports])
    prior = np.log(shape_ms(table, probes)) + gain * quantised
    posterior = _condition(prior, kernel, seen, observed, np.full(len(seen), RUN_SD**2))
    return Normal(posterior.mean, np.hypot(posterior.sd, RUN_SD))


def shape_ms(table: FamilyTable, probes: Sequence[ProbeResult]) -> Floats:
    """f: the p95 in ms of each student's shape in fp32, by ridge regression on layers and MACs.

    The ridge pulls towards the host's shape times the device's slowness, and errors are relative.
    Too few probes for the coefficients teach the slowness alone.
    """
    layers = np.array([row.layers for row in table.rows], float)
    macs = np.array([row.macs for row in table.rows], float) / MACS_PER_LAYER
    host: Floats = layers + macs
    if not probes:
        return host * HOST_MS_PER_LAYER
    shapes = {_point(row.student)[:-1]: index for index, row in enumerate(table.rows)}
    seen = [shapes[_point(probe.student)[:-1]] for probe in probes]
    ratio = np.array([probe.latency_p95_ms for probe in probes]) / host[seen]
    slowness = exp(float(np.log(ratio).mean()))
    if len(probes) < COEFFICIENTS:
        return host * slowness
    shares = np.stack([np.full_like(host, host.mean()), layers, macs], 1) / host[:, None]
    X = shares[seen]
    ridge = (PROBE_NOISE / SHAPE_SD) ** 2 * np.eye(COEFFICIENTS)
    change = np.linalg.solve(X.T @ X + ridge, X.T @ (ratio / slowness - 1))
    fitted: Floats = host * slowness * np.maximum(1 + shares @ change, LEAST_SHARE)
    return fitted


def accuracy(table: FamilyTable, reports: Sequence[DistillationMetric]) -> Normal:
    """The true accuracy of each student on this person, after training there."""
    points = coordinates(table)
    depth = points[:, 1:-1] / points[:, 1:-1].max(0) / DEPTH_SCALE
    features = np.column_stack(
        [points[:, 0] / WIDTH_SCALE, depth, np.log2(points[:, -1]) / BITS_SCALE]
    )
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    kernel = PEOPLE_SD**2 + STUDENT_SD**2 * np.exp(-0.5 * distance)
    fresh = distinct(reports)
    seen = positions(table, [report.student for report in fresh])
    observed = np.array([report.accuracy for report in fresh])
    noise = np.array([standard_error(report) ** 2 for report in fresh])
    prior = np.array([row.accuracy for row in table.rows])
    return _condition(prior, kernel, seen, observed, noise)


def distinct(reports: Sequence[DistillationMetric]) -> list[DistillationMetric]:
    """Without repeats of one result: the same student on the same held-out data is no new fact."""
    unique = {(*_point(r.student), r.accuracy, r.samples): r for r in reversed(reports)}
    return list(reversed(unique.values()))


def measured_over_predicted(
    table: FamilyTable, probes: Sequence[ProbeResult], reports: Sequence[DistillationMetric]
) -> float:
    """The last report's latency over what was expected before it came."""
    *earlier, last = reports
    expected = latency(table, probes, earlier).mean[positions(table, [last.student])[0]]
    return exp(log(last.latency_p95_ms) - float(expected))


def _condition(
    prior: Floats, kernel: Floats, seen: list[int], observed: Floats, noise: Floats
) -> Normal:
    """The posterior of a Gaussian process at every student, after noisy values at some."""
    at = np.array(seen, dtype=int)
    across = kernel[at]
    gain = np.linalg.solve(across[:, at] + np.diag(noise), across).T
    variance = np.diag(kernel) - (gain * across.T).sum(1)
    return Normal(prior + gain @ (observed - prior[at]), np.sqrt(np.maximum(variance, 1e-10)))


def _point(student: Student) -> tuple[float, ...]:
    return (student.width, *student.depths, student.bits)
