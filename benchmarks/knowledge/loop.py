"""`bench loop`: the closed loop with real training, on three kinds of models, and what else one
could have done, on the same clients and profiles.

A feasible profile is one built around a student that was really trained on that client, plus a
margin; the others are tightened until no student that fits is fast enough, or none fits. Every MET
is checked once more on recordings that no rule ever sees.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import exp, isnan
from multiprocessing import get_context

import numpy as np
from rich.progress import track

from benchmarks.knowledge.alternatives import alternatives
from benchmarks.knowledge.families import Built, built
from benchmarks.knowledge.loop_plot import draw
from benchmarks.knowledge.play import Ended, Seat
from benchmarks.report import Measured, Value
from edge_sim.scenario import DeviceModel
from stillhouse.chunks import chunks_for
from stillhouse.compress.architectures import network
from stillhouse.edge.probe import host_calibration
from stillhouse.entities import (
    Constraint,
    FamilyTable,
    ProfileSpec,
    Student,
    TrainingRecipe,
    VerdictKind,
)
from stillhouse.limits import accuracy_floor, standard_error, with_limits

DATA = ("minilm", "mnist", "wrist")  # the longest first
SEEDS = (11, 12, 13)
PROFILES, LONG = 4, 12  # a data set and seed
INFEASIBLE_EACH = 4  # the last of so many profiles is one
TOO_TIGHT = 0.6  # of what the smallest student takes


@dataclass(frozen=True, slots=True)
class Case:
    """A profile of one client's device, and whether a student is known that meets it."""

    seat: Seat
    spec: ProfileSpec
    feasible: bool
    around: str


def measure(long: bool) -> Measured:
    """Half an hour the first time; `long` plays 12 profiles of each data set and seed instead of 4,
    and the alternatives on all of them instead of one seed's."""
    count = LONG if long else PROFILES
    wanted = [(name, seed, count, long or seed == SEEDS[0]) for name in DATA for seed in SEEDS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_play_all, wanted)
        rows = [row for part in track(parts, "loops", total=len(wanted)) for row in part]
    return Measured(metrics(rows), tuple(rows), lambda path: draw(rows, path))


def metrics(rows: list[dict[str, Value]]) -> dict[str, float]:
    """Shares and means over all feasible profiles, and of each data set."""
    ours = [row for row in rows if row["planner"] == "stillhouse"]
    found = summary(ours, "")
    for name in DATA:
        found |= summary([row for row in ours if row["data"] == name], f"{name}_")
    for planner in sorted({str(row["planner"]) for row in rows} - {"stillhouse", "offer"}):
        other = [row for row in rows if row["planner"] == planner and row["feasible"]]
        found[f"{planner}_met_share"] = mean(other, "met")
    offers = [row for row in rows if row["planner"] == "offer"]
    if offers:
        found["counter_offers_true_share"] = mean(offers, "met")
        found["counter_offers_tried"] = float(len(offers))
    return {name: value for name, value in found.items() if not isnan(value)}


def summary(rows: list[dict[str, Value]], prefix: str) -> dict[str, float]:
    feasible = [row for row in rows if row["feasible"]]
    met = [row for row in feasible if row["met"]]
    impossible = [row for row in rows if not row["feasible"]]
    return {
        f"{prefix}feasible_met_share": mean(feasible, "met"),
        f"{prefix}mean_rounds": mean(met, "rounds"),
        f"{prefix}met_that_hold_share": mean(met, "holds"),
        f"{prefix}mean_bytes": mean(feasible, "bytes"),
        f"{prefix}infeasible_shown_share": mean(impossible, "shown_infeasible"),
    }


def mean(rows: list[dict[str, Value]], name: str) -> float:
    return float(np.mean([float(row[name]) for row in rows])) if rows else float("nan")


def _play_all(wanted: tuple[str, int, int, bool]) -> list[dict[str, Value]]:
    """All profiles of one data set and seed, and the alternatives on the same if they play."""
    name, seed, count, alternatives_play = wanted
    there = built(name, seed)
    pre, architecture = there.task.spec.preprocessing, there.family.header.architecture
    whole = Student(width=1, depths=network(architecture).depths, bits=32)
    host = host_calibration(architecture, pre, (*there.task.grid.shapes(), whole))
    rows: list[dict[str, Value]] = []
    for index in range(count):
        case = case_of(there, host, seed, index)
        where: dict[str, Value] = {"data": name, "seed": seed, "profile": index}
        ended = case.seat.play(case.spec)
        rows.append(where | row_of(case, ended, "stillhouse"))
        if case.feasible and alternatives_play:
            for other, play in alternatives(case.seat).items():
                rows.append(where | row_of(case, play(case.seat, case.spec), other))
        if not case.feasible and ended.verdict.counter_offers:
            offered = with_limits(case.spec, ended.verdict.counter_offers[0].limits)
            tried = Case(case.seat, offered, True, "its counter-offer")
            rows.append(where | row_of(tried, case.seat.play(offered), "offer"))
    return rows


def case_of(built: Built, host: dict[Student, float], seed: int, index: int) -> Case:
    """A device and a profile, by the same draw for everybody."""
    rng = np.random.default_rng([seed, index])
    clients = built.task.clients
    model = DeviceModel(
        anchor_latency_ms=float(exp(rng.uniform(np.log(0.5), np.log(40)))),
        int8_gain=float(rng.uniform(0.7, 0.85)),
        cache_bytes=int(exp(rng.uniform(np.log(8e3), np.log(1e6)))),
        memory_bytes=1 << 40,
        memory_factor=float(rng.uniform(1.0, 1.15)),
    )
    seat = Seat(built, clients[index % len(clients)], model, host, 1000 * seed + index)
    table = built.family.table
    around = table.rows[int(rng.integers(len(table.rows)))].student
    spec = trained_profile(seat, around, rng)
    if index % INFEASIBLE_EACH != INFEASIBLE_EACH - 1:
        return Case(seat, spec, True, str(around))
    return Case(seat, impossible(seat, spec, rng), False, str(around))


def trained_profile(seat: Seat, around: Student, rng: np.random.Generator) -> ProfileSpec:
    """Limits a margin beyond what `around` measured after really training on this client."""
    table = seat.built.family.table
    recipes = chunks_for(table, around, len(seat.built.family.public))
    recipe = TrainingRecipe(**table.training.model_dump(), seed=seat.seed)
    wide = ProfileSpec(
        cpu_cores=1,
        memory_bytes=1 << 40,
        storage_bytes=1 << 40,
        latency_p95_ms=1e6,
        max_accuracy_drop=0.99,
    )
    report = seat.measure(around, seat.train(around, recipe, recipes), wide, 1)
    floor = report.accuracy - standard_error(report)
    return ProfileSpec(
        cpu_cores=1,
        memory_bytes=int(report.peak_memory_bytes * exp(rng.uniform(0.05, 0.5))),
        storage_bytes=int(report.storage_bytes * exp(rng.uniform(0.05, 0.5))),
        latency_p95_ms=report.latency_p95_ms * exp(rng.uniform(0.1, 0.4)),
        max_accuracy_drop=min(0.99, max(0.0, table.registered_accuracy - floor)),
    )


def impossible(seat: Seat, spec: ProfileSpec, rng: np.random.Generator) -> ProfileSpec:
    """The same with one limit below what the least student takes."""
    which = (Constraint.STORAGE, Constraint.MEMORY, Constraint.LATENCY)[int(rng.integers(3))]
    rows = seat.built.family.table.rows
    match which:
        case Constraint.STORAGE:
            least: float = min(row.storage_bytes for row in rows)
        case Constraint.MEMORY:
            least = min(row.memory_bytes for row in rows)
        case _:
            least = min(fastest(seat, row.student) for row in rows)
    value = least * TOO_TIGHT
    return with_limits(spec, {which: value if which is Constraint.LATENCY else int(value)})


def fastest(seat: Seat, student: Student) -> float:
    quantised = student.bits < 32
    return seat.bench.latency_ms(seat.card, student, 1, quantised=quantised, seed=0)[1]


def row_of(case: Case, ended: Ended, planner: str) -> dict[str, Value]:
    table: FamilyTable = case.seat.built.family.table
    student = ended.reports[-1].student if ended.reports else None
    holds = 0.0
    if ended.met and student is not None and ended.tested is not None:
        holds = float(ended.tested >= accuracy_floor(case.spec, table.registered_accuracy))
    return {
        "planner": planner,
        "feasible": int(case.feasible),
        "around": case.around,
        "verdict": str(ended.verdict.kind),
        "met": int(ended.met),
        "shown_infeasible": int(ended.verdict.kind is VerdictKind.INFEASIBLE),
        "holds": holds,
        "rounds": ended.rounds,
        "bytes": ended.wire_bytes,
        "student": str(student or "none"),
        "accuracy": ended.reports[-1].accuracy if ended.reports else 0.0,
        "tested": ended.tested or 0.0,
        "floor": accuracy_floor(case.spec, table.registered_accuracy),
    }
