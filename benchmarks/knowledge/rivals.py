"""Other ways to choose students, for the same devices: none has a table's accuracy as its prior.

Each knows what a person would know: the table's sizes, so that none spends a round on a student
that cannot fit. Each takes the first student that measures within every limit.
"""

import warnings
from collections.abc import Callable, Iterator
from math import log

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution

from benchmarks.knowledge.ground import Floats
from stillhouse.entities import DistillationMetric, FamilyTable, ProfileSpec, Student
from stillhouse.limits import accuracy_floor

MAX_ROUNDS = 8
STARTUP = 2  # random trials of the Bayesian optimisation before its model
Propose = Callable[[list[DistillationMetric]], int | None]  # the next row; None at the end
Rival = Callable[[FamilyTable, ProfileSpec, int], Propose]  # the last is a seed

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def fitting(table: FamilyTable, spec: ProfileSpec) -> list[int]:
    """Rows whose sizes are within the limits, by the table."""
    return [
        index
        for index, row in enumerate(table.rows)
        if row.storage_bytes <= spec.storage_bytes and row.memory_bytes <= spec.memory_bytes
    ]


def at_random(table: FamilyTable, spec: ProfileSpec, seed: int) -> Propose:
    """Random search among what fits."""
    rng = np.random.default_rng([seed, 7])
    order: Iterator[int] = iter(rng.permutation(fitting(table, spec)).tolist())
    return lambda _: next(order, None)


def shrinking(table: FamilyTable, spec: ProfileSpec, _: int) -> Propose:
    """Uniform shrinking: int8, every stage as deep as the others; the largest that fits, then the
    next smaller one."""
    rows = table.rows
    uniform = [
        index
        for index in fitting(table, spec)
        if rows[index].student.bits == 8 and len(set(rows[index].student.depths)) == 1
    ]
    order = iter(sorted(uniform, key=lambda index: -rows[index].macs))
    return lambda _: next(order, None)


def bayesian(table: FamilyTable, spec: ProfileSpec, seed: int) -> Propose:
    """Constrained Bayesian optimisation with a flat prior: a Gaussian process of accuracy and one
    of each limit, expected improvement times the chance of all (optuna's GPSampler).

    A proposal that cannot fit, or was tried, is moved to the nearest student that can.
    """
    students = [row.student for row in table.rows]
    axes = axes_of(students)
    places = np.array(
        [[axis.index(v) for axis, v in zip(axes, key(s), strict=True)] for s in students]
    )
    spans = np.array([max(len(axis) - 1, 1) for axis in axes])
    names = [f"axis{i}" for i in range(len(axes))]
    space: dict[str, BaseDistribution] = {
        name: IntDistribution(0, len(axis) - 1) for name, axis in zip(names, axes, strict=True)
    }
    floor = accuracy_floor(spec, table.registered_accuracy)
    sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    free = set(fitting(table, spec))
    running: list[optuna.Trial] = []

    def propose(reports: list[DistillationMetric]) -> int | None:
        if reports:
            for name, value in over(spec, floor, reports[-1]).items():
                running[-1].set_constraint(name, value)
            study.tell(running[-1], reports[-1].accuracy)
        if not free:
            return None
        asked = study.ask(space)
        wanted = np.array([asked.params[name] for name in names])
        distance: Floats = (np.abs(places - wanted) / spans).sum(1)
        nearest = min(sorted(free), key=lambda index: float(distance[index]))
        if distance[nearest] > 0:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(dict(zip(names, map(int, places[nearest]), strict=True)))
            asked = study.ask(space)
        free.discard(nearest)
        running.append(asked)
        return nearest

    return propose


def over(spec: ProfileSpec, floor: float, report: DistillationMetric) -> dict[str, float]:
    """By how much each limit is missed; at most 0 where it holds."""
    return {
        "latency": log(report.latency_p95_ms / spec.latency_p95_ms),
        "memory": log(report.peak_memory_bytes / spec.memory_bytes),
        "accuracy": floor - report.accuracy,
    }


def axes_of(students: list[Student]) -> list[list[float]]:
    """The values of width, each depth, and bits."""
    return [sorted(set(values)) for values in zip(*map(key, students), strict=True)]


def key(student: Student) -> tuple[float, ...]:
    return (student.width, *student.depths, student.bits)
