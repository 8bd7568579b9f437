"""Tasks with their families, built once a seed and kept: benchmarks share what takes minutes.

Kept by content: the code that builds, the versions of torch and numpy, task and seed. What is kept
never leaves this machine, and nothing of it is unpickled.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import edge_sim.wrist
import stillhouse.compress
import stillhouse.edge
from benchmarks.knowledge import minilm, mnist, wrist
from benchmarks.knowledge.tasks import Keep, Task
from cluster.sources import code_digest
from edge_sim.cache import Cache
from stillhouse.compress.arch import Network, build, load_weights
from stillhouse.compress.container import Family
from stillhouse.compress.family import build_family
from stillhouse.compress.measure import Score, evaluate
from stillhouse.edge.recipe import with_measured_recipe
from stillhouse.entities import digest_of

TASKS: dict[str, Callable[[int, Keep], Task]] = {
    "wrist": wrist.task,
    "mnist": mnist.task,
    "minilm": minilm.task,
}
FOLDER = Path(".stillhouse") / "bench"


@dataclass(frozen=True, slots=True)
class Built:
    """A task with its family, and what its central model scores on the evaluation set."""

    task: Task
    family: Family
    registered: Score


def built(name: str, seed: int) -> Built:
    """The family of a task's central model, as the system registers it; kept for the next time."""
    torch.set_num_threads(1)  # the same bytes on every run
    cache, place = Cache(FOLDER), [name, seed, *made_by(TASKS[name])]

    def keep(what: str, make: Callable[[], bytes]) -> bytes:
        return cache.keep(what, digest_of([what, *place]), make)

    task = TASKS[name](seed, keep)
    registered = evaluate(
        central(task), task.evaluation, task.spec.preprocessing, embeds=task.embeds
    )
    family = Family.from_bytes(keep("family", lambda: family_of(task, registered).to_bytes()))
    return Built(task, family, registered)


def made_by(function: Callable[..., object]) -> list[str]:
    """The code and the libraries that a kept result of `function` comes from."""
    code = code_digest(edge_sim.wrist, stillhouse.compress, stillhouse.edge)
    own = inspect.getsource(sys.modules[function.__module__])
    return [code, own, torch.__version__, np.__version__]


def central(task: Task) -> Network:
    """The central model itself, which no device can hold."""
    return load_weights(build(task.spec.architecture), task.weights).eval()


def family_of(task: Task, registered: Score, previous: Family | None = None) -> Family:
    """As a registration builds it."""
    parts = (task.training, task.transfer, (registered.accuracy, registered.se), task.grid)
    family = build_family(task.weights, task.spec, *parts, task.seed, previous=previous)
    return with_measured_recipe(family, task.spec, task.training, task.seed)
