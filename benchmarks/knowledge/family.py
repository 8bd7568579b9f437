"""`bench family`: what students are worth before and after training, what a small delivery does,
how well latency is foretold, and what a family costs to build."""

import time
from collections.abc import Iterator

import numpy as np
from rich.progress import Progress

from benchmarks.knowledge import minilm
from benchmarks.knowledge.families import Built, built, central, family_of
from benchmarks.knowledge.family_plot import draw
from benchmarks.report import Measured, Value
from stillhouse import cost
from stillhouse.chunks import chunks_for, weights_chunks
from stillhouse.compress.arch import build, load_state
from stillhouse.compress.behaviour import Behaviour
from stillhouse.compress.measure import evaluate
from stillhouse.compress.pack import build_pack, spans
from stillhouse.compress.slices import assemble, weights_chunk
from stillhouse.edge.probe import host_calibration
from stillhouse.edge.train import load_student, train
from stillhouse.entities import (
    BehaviourRecipe,
    DistillationMetric,
    FamilyTable,
    ProbeResult,
    Student,
    TrainingRecipe,
    WeightsRecipe,
)

SEEDS = (11, 12, 13)  # not those that anything was tuned on
QUARTER = Student(width=0.25, depths=(1, 1), bits=32)
SMALL = Student(width=0.5, depths=(1, 1), bits=4)
TARGET = Student(width=1, depths=(1, 2), bits=8)
CLOSE = 0.035  # of accuracy: a prefix as good as the end
REPORTS, DRAWS = 20, 20


def measure(long: bool) -> Measured:
    """A quarter of an hour: every family is built to see how long it takes."""
    del long
    rows: list[dict[str, Value]] = []
    with Progress() as progress:
        going = progress.add_task("families", total=2 * len(SEEDS) + len(SEEDS))
        for seed in SEEDS:
            for name in ("mnist", "wrist"):
                there = built(name, seed)
                rows += students(there)
                rows.append(costs(there))
                if name == "mnist":
                    rows += [delivery(there), prefixes(there)]
                progress.advance(going)
            rows.append({"kind": "minilm", "seed": seed, "cosine": minilm.half_cosine(seed)})
            progress.advance(going)
    return Measured(metrics(rows), tuple(rows), lambda path: draw(rows, path))


def metrics(rows: list[dict[str, Value]]) -> dict[str, float]:
    def mean(kind: str, key: str, **where: Value) -> float:
        of = [r for r in rows if r["kind"] == kind and where.items() <= r.items()]
        return float(np.mean([float(row[key]) for row in of]))

    quarter = {"data": "mnist", "student": str(QUARTER)}
    return {
        "mnist5k_quarter_zero_shot_accuracy": mean("student", "accuracy", **quarter),
        "mnist5k_9kB_accuracy": mean("delivery", "accuracy"),
        "mnist5k_9kB_bytes": mean("delivery", "bytes"),
        "first_prefix_share": mean("prefix", "share"),
        "minilm_half_cosine": mean("minilm", "cosine"),
        "family_build_s": mean("costs", "build_s"),
        "family_build_mnist_s": mean("costs", "build_s", data="mnist"),
        "family_build_wrist_s": mean("costs", "build_s", data="wrist"),
        "family_build_cpu_s": mean("costs", "build_cpu_s"),
        "latency_mape_4_probes": mean("costs", "mape_4_probes"),
        "latency_mape_20_reports": mean("costs", "mape_20_reports"),
    }


def students(there: Built) -> Iterator[dict[str, Value]]:
    """Zero-shot accuracy on test recordings of every student, and of the central model."""
    task, family = there.task, there.family
    pre = task.spec.preprocessing
    whole = evaluate(central(task), task.test, pre).accuracy
    for row in family.table.rows:
        student = row.student
        state = family.weights(student) | dict(family.statistics[student])
        model = load_state(build(family.header.architecture, student), state).eval()
        yield {
            "kind": "student",
            "data": task.name,
            "seed": task.seed,
            "student": str(student),
            "parameters": row.parameters,
            "bytes": row.wire_bytes,
            "accuracy": evaluate(model, task.test, pre).accuracy,
            "central_accuracy": whole,
            "expected_accuracy": row.accuracy,
        }


def delivery(there: Built) -> dict[str, Value]:
    """A whole delivery of `SMALL` with all its behaviour, trained by every client: the mean
    accuracy on test digits of nobody in particular."""
    task, family = there.task, there.family
    recipes = chunks_for(family.table, SMALL, len(family.public))
    pack = build_pack(family, recipes)
    parts = [pack.payload[start:stop] for start, stop in spans(pack.chunks)]
    taught = [p for p, r in zip(parts, recipes, strict=True) if isinstance(r, BehaviourRecipe)]
    weights = [p for p, r in zip(parts, recipes, strict=True) if isinstance(r, WeightsRecipe)]
    found = []
    for index, client in enumerate(task.clients):
        model = load_student(family.header.architecture, SMALL, weights)
        recipe = TrainingRecipe(**family.table.training.model_dump(), seed=index)
        parts_of = (client.train, client.validation, task.spec.preprocessing, recipe)
        train(model, *parts_of, family.public, Behaviour.joined(taught))
        found.append(evaluate(model, task.test, task.spec.preprocessing).accuracy)
    return {
        "kind": "delivery",
        "data": task.name,
        "seed": task.seed,
        "bytes": len(pack.payload),
        "accuracy": float(np.mean(found)),
        "worst_client": min(found),
    }


def prefixes(there: Built) -> dict[str, Value]:
    """The share of the target's bytes after which a student runs that is close to the end."""
    family, pre = there.family, there.task.spec.preprocessing
    recipes = weights_chunks(family.table, TARGET)
    chunks = [weights_chunk(family, each) for each in recipes if isinstance(each, WeightsRecipe)]
    accuracies = []
    for count in range(1, len(chunks) + 1):
        arrays = assemble(family.header.architecture, chunks[:count])
        model = build(family.header.architecture, arrays.student)
        accuracies.append(evaluate(load_state(model, arrays.state()).eval(), there.task.test, pre))
    end = accuracies[-1].accuracy
    close = next(i for i, score in enumerate(accuracies) if score.accuracy >= end - CLOSE)
    sizes = [len(chunk) for chunk in chunks]
    return {
        "kind": "prefix",
        "data": there.task.name,
        "seed": there.task.seed,
        "share": sum(sizes[: close + 1]) / sum(sizes),
        "bytes": sum(sizes),
        "chunks": len(chunks),
        "first_accuracy": accuracies[0].accuracy,
        "end_accuracy": end,
    }


def costs(there: Built) -> dict[str, Value]:
    """Seconds of a build (again: a kept family says nothing of them) on two cores, with everything
    from sorting to the measured recipe; errors of foretold latencies on this host, one thread."""
    began, spent = time.perf_counter(), time.process_time()
    family_of(there.task, there.registered)
    took, cpu = time.perf_counter() - began, time.process_time() - spent
    table, grid = there.family.table, there.task.grid
    shapes = grid.shapes()
    pre = there.task.spec.preprocessing
    host = host_calibration(there.family.header.architecture, pre, shapes)
    rng = np.random.default_rng(there.task.seed)
    errors = [mape(table, host, rng, REPORTS) for _ in range(DRAWS)]
    return {
        "kind": "costs",
        "data": there.task.name,
        "seed": there.task.seed,
        "build_s": took,
        "build_cpu_s": cpu,
        "students": len(table.rows),
        "mape_4_probes": mape(table, host, rng, 0),
        "mape_20_reports": float(np.mean(errors)),
    }


def mape(
    table: FamilyTable, host: dict[Student, float], rng: np.random.Generator, count: int
) -> float:
    """Mean absolute relative error over shapes that were neither probed nor reported."""
    by_shape = {(s.width, s.depths): ms for s, ms in host.items()}
    probes = tuple(
        ProbeResult(student=s, latency_p50_ms=ms, latency_p95_ms=ms)
        for s in table.probes
        for ms in [by_shape[s.width, s.depths]]
    )
    probed = {(s.width, s.depths) for s in table.probes}
    unseen = [s for s in host if (s.width, s.depths) not in probed]
    order = [unseen[i] for i in rng.permutation(len(unseen))]
    reports = tuple(report(student, host[student]) for student in order[:count])
    family, left = cost.Family.of(table), order[count:]
    believed = cost.latency(family, probes, reports)
    expected = np.exp(believed.mean[family.at(left)])
    true = np.array([host[student] for student in left])
    return float(np.mean(np.abs(expected / true - 1)))


def report(student: Student, ms: float) -> DistillationMetric:
    return DistillationMetric(
        round=1,
        student=student,
        accuracy=0.9,
        accuracy_se=0.02,
        samples=100,
        latency_p50_ms=ms,
        latency_p95_ms=ms,
        peak_memory_bytes=1,
        storage_bytes=1,
        training_time_s=0,
    )
