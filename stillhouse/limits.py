"""The limits of a profile: what each allows, what a report measured of it, how to relax it.

A `Constraint` is spelt like its field in `ProfileSpec`, so a limit is read by its name. Accuracy is
limited by its drop below the registered accuracy; what is measured is held against the floor.
"""

from collections.abc import Mapping
from math import floor as floor_of
from math import log10, sqrt

from stillhouse.entities import Constraint, DistillationMetric, ProfileSpec

SIZES = (Constraint.STORAGE, Constraint.MEMORY, Constraint.TRAINING_MEMORY)
NAMES = {  # what a person calls what is limited
    Constraint.STORAGE: "storage",
    Constraint.MEMORY: "memory",
    Constraint.LATENCY: "latency",
    Constraint.ACCURACY: "accuracy",
    Constraint.TRAINING_MEMORY: "training memory",
    Constraint.ENERGY: "energy",
}
LATENCY_SLACK = 1.06  # above this, a missed latency is not noise: larger students are out, too
LIFTED: dict[Constraint, float | None] = {
    Constraint.STORAGE: 1 << 50,
    Constraint.MEMORY: 1 << 50,
    Constraint.LATENCY: 1e7,
    Constraint.ACCURACY: 1 - 1e-9,
    Constraint.TRAINING_MEMORY: None,
    Constraint.ENERGY: None,
}


def limit(spec: ProfileSpec, constraint: Constraint) -> float:
    """What the profile allows; infinite where it says nothing."""
    value: float | None = getattr(spec, constraint.value)
    return float("inf") if value is None else value


def with_limits(spec: ProfileSpec, limits: Mapping[Constraint, float | None]) -> ProfileSpec:
    """The same profile with some other limits."""
    changed = {constraint.value: value for constraint, value in limits.items()}
    return ProfileSpec.model_validate({**spec.model_dump(), **changed})


def lifted(spec: ProfileSpec, *constraints: Constraint) -> ProfileSpec:
    """The profile as if these limits were not there."""
    return with_limits(spec, {constraint: LIFTED[constraint] for constraint in constraints})


def accuracy_floor(spec: ProfileSpec, registered: float) -> float:
    """The least accuracy that the profile accepts: below the registered one, never a person's."""
    return registered - spec.max_accuracy_drop


def measured(report: DistillationMetric, constraint: Constraint) -> float | None:
    """What the device measured where `constraint` sets a limit; None where it measured nothing."""
    match constraint:
        case Constraint.STORAGE:
            return report.storage_bytes
        case Constraint.MEMORY:
            return report.peak_memory_bytes
        case Constraint.LATENCY:
            return report.latency_p95_ms
        case Constraint.ENERGY:
            return report.energy_mj
        case Constraint.ACCURACY:
            return report.accuracy
        case Constraint.TRAINING_MEMORY:
            return report.training_memory_bytes


def missed(spec: ProfileSpec, floor: float, report: DistillationMetric) -> tuple[Constraint, ...]:
    """The limits that the measurement lies outside of; what was not measured misses nothing."""

    def misses(constraint: Constraint) -> bool:
        value = measured(report, constraint)
        if value is None:
            return False
        if constraint is Constraint.ACCURACY:
            return value < floor - 1e-9  # so that 0.91 is not below 0.94 - 0.03
        return value > limit(spec, constraint)

    return tuple(constraint for constraint in Constraint if misses(constraint))


def clearly_missed(
    spec: ProfileSpec, floor: float, report: DistillationMetric
) -> tuple[Constraint, ...]:
    """The limits missed by more than noise explains: sizes at all, latency and energy beyond
    LATENCY_SLACK, accuracy by more than its standard error."""

    def beyond_noise(constraint: Constraint) -> bool:
        match constraint:
            case Constraint.ACCURACY:
                return report.accuracy < floor - standard_error(report)
            case Constraint.LATENCY | Constraint.ENERGY:
                value = measured(report, constraint) or 0.0
                return value > LATENCY_SLACK * limit(spec, constraint)
        return True

    return tuple(c for c in missed(spec, floor, report) if beyond_noise(c))


def standard_error(report: DistillationMetric) -> float:
    """Of the measured accuracy: what the device says, but never less than that of independent
    samples with two added, one right and one wrong: a bootstrap of 100 % finds no spread at all."""
    share = (report.accuracy * report.samples + 1) / (report.samples + 2)
    return max(report.accuracy_se, sqrt(share * (1 - share) / report.samples))


def rounded_up(value: float) -> float:
    """To two significant digits, upwards: a limit that a person would write."""
    digits = 1 - floor_of(log10(value))
    up = -floor_of(-round(value * 10.0**digits, 6))
    return round(up * 10.0**-digits, max(digits, 0))


def in_words(constraint: Constraint, value: float) -> str:
    """The value with its unit, as verdicts and plans print it."""
    match constraint:
        case Constraint.STORAGE | Constraint.MEMORY | Constraint.TRAINING_MEMORY:
            step = 0 if value < 1e6 else 1 if value < 1e9 else 2
            return f"{value / 1000 ** (step + 1):.3g} {('kB', 'MB', 'GB')[step]}"
        case Constraint.LATENCY:
            return f"{value:.3g} ms"
        case Constraint.ENERGY:
            return f"{value:.3g} mJ"
        case Constraint.ACCURACY:
            return f"{value:.3f}"
