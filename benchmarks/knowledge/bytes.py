"""`bench bytes`: what devices that hold students of a version are sent when its central model was
trained again, against what sending the students again would take.

The new central model is trained from another start on the same data; its family continues the one
before, as a registration builds it.
"""

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
from rich.progress import Progress

from benchmarks.knowledge import mnist
from benchmarks.knowledge.bytes_plot import draw
from benchmarks.knowledge.families import FOLDER, Built, built, central, family_of, made_by
from benchmarks.knowledge.tasks import Task
from benchmarks.report import Measured, Value
from edge_sim.cache import Cache
from edge_sim.wrist import central as central_training
from edge_sim.wrist.central import train_central
from stillhouse.chunks import chunks_for, weights_chunks
from stillhouse.compress.arch import build, load_state, to_safetensors
from stillhouse.compress.container import Family
from stillhouse.compress.measure import evaluate
from stillhouse.compress.pack import build_pack
from stillhouse.entities import Student, WeightsRecipe, digest_of

SEEDS = (11, 12, 13)  # not those that anything was tuned on
EPOCHS = {"mnist": mnist.EPOCHS, "wrist": central_training.EPOCHS}
ANOTHER_START = 1000  # added to the seed of the central model
STUDENTS = tuple(
    Student(width=width, depths=depths, bits=bits)
    for width, depths in ((0.25, (1, 1)), (0.5, (1, 1)), (1.0, (1, 2)), (1.0, (3, 3)))
    for bits in (4, 8)
)


def measure(long: bool) -> Measured:
    """Minutes: a second central model and family a seed and data set; kept for the next time."""
    rows: list[dict[str, Value]] = []
    names = ("mnist", "wrist")
    with Progress() as progress:
        going = progress.add_task("updates", total=len(SEEDS) * len(names))
        for seed in SEEDS:
            for name in names:
                there = built(name, seed)
                task, new = updated(there)
                students = STUDENTS if not long else tuple(r.student for r in new.table.rows)
                rows += [row(task, there.family, new, student) for student in students]
                progress.advance(going)
    shares = {name: _mean(rows, "share", data=name) for name in names}
    return Measured(
        {
            "update_byte_share": _mean(rows, "share"),
            **{f"update_byte_share_{name}": share for name, share in shares.items()},
            "update_accuracy": _mean(rows, "accuracy"),
            "accuracy_before": _mean(rows, "accuracy_before"),
        },
        tuple(rows),
        partial(draw, rows),
    )


def updated(there: Built) -> tuple[Task, Family]:
    """The task with its central model trained again, and the family that updates the one there."""
    task, pre = there.task, there.task.spec.preprocessing
    cache, place = Cache(FOLDER), [there.family.digest, ANOTHER_START, *made_by(updated)]

    def train() -> bytes:
        assert task.training is not None
        seed = task.seed + ANOTHER_START
        parts = (task.spec.architecture, task.training, pre, seed)
        return to_safetensors(train_central(*parts, epochs=EPOCHS[task.name]))

    again = replace(task, weights=cache.keep("central", digest_of(["central", *place]), train))
    registered = evaluate(central(again), task.evaluation, pre)
    key = digest_of(["update", *place, hashlib.sha256(again.weights).hexdigest()])
    data = cache.keep("update", key, lambda: family_of(again, registered, there.family).to_bytes())
    return again, Family.from_bytes(data)


def row(task: Task, old: Family, new: Family, student: Student) -> dict[str, Value]:
    """Of one student: bytes of its update and of itself, zero-shot accuracy before and after."""
    delta, whole = update_bytes(old, new, student)
    return {
        "data": task.name,
        "seed": task.seed,
        "student": str(student),
        "update_bytes": delta,
        "whole_bytes": whole,
        "share": delta / whole,
        "accuracy_before": zero_shot(task, old, student),
        "accuracy": zero_shot(task, new, student),
    }


def update_bytes(old: Family, new: Family, student: Student) -> tuple[int, int]:
    """Bytes to a device that holds `student` of `old`, and to one that holds nothing; no behaviour.

    As the planner and the chunk server do it: the deltas that lead into the student's path.
    """
    held = [e for e in weights_chunks(old.table, student) if isinstance(e, WeightsRecipe)]
    update = chunks_for(new.table, student, 0, held_before=held)
    whole = chunks_for(new.table, student, 0)
    packs = (build_pack(new, recipes, {old.digest: old}) for recipes in (update, whole))
    delta, again = (len(pack.payload) for pack in packs)
    return delta, again


def zero_shot(task: Task, family: Family, student: Student) -> float:
    state = family.weights(student) | dict(family.statistics[student])
    model = load_state(build(family.header.architecture, student), state).eval()
    return evaluate(model, task.test, task.spec.preprocessing).accuracy


def _mean(rows: list[dict[str, Value]], key: str, **where: Value) -> float:
    return float(np.mean([float(row[key]) for row in rows if where.items() <= row.items()]))
