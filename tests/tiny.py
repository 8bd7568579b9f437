"""A family small enough to build in a second: three waves on three axes, 24 students."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from stillhouse.compress.arch import build, to_safetensors
from stillhouse.compress.architectures import block_edges
from stillhouse.compress.container import Family
from stillhouse.compress.family import build_family
from stillhouse.compress.quantize import BITS, Floats, encode_near, near_scales, steps
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.slices import rounded
from stillhouse.entities import (
    ArchitectureSpec,
    CentralModelSpec,
    FamilyGrid,
    FamilyRecipe,
    Preprocessing,
    Student,
    VectorAxes,
    WeightsRecipe,
)

ARCHITECTURE = ArchitectureSpec(
    id="resnet1d",
    kwargs={
        "inputs": 3,
        "classes": 3,
        "channels1": 4,
        "channels2": 8,
        "blocks1": 2,
        "blocks2": 2,
        "kernel": 3,
    },
)
PRE = Preprocessing(
    window=16,
    step=8,
    mean=(0, 0, 0.5),
    deviation=(1, 1, 2),
    vectors=(VectorAxes(axes=(0, 1, 2)),),
    rotation_sd_rad=0.1,
)
GRID = FamilyGrid(widths=(0.5, 1.0), depths=((1, 2), (1, 2)), bits=(4, 8, 32))
RECIPE = FamilyRecipe(epochs=2, labelled=12, unlabelled=4, public_windows=20)
SPEC = CentralModelSpec(
    architecture=ARCHITECTURE,
    preprocessing=PRE,
    labels=("slow", "medium", "fast"),
    files={},
    family=RECIPE,
    standardise=False,
)
REGISTERED = (0.8, 0.05)

torch.set_num_threads(1)  # hashes are compared


def recordings(seed: int, people: int = 2, length: int = 96) -> Recordings:
    """One recording a person and class; a class is a frequency, noise is not small."""
    rng, samples = np.random.default_rng(seed), []
    for person in range(people):
        for label in range(3):
            time = np.arange(length)[:, None] * (0.2 + 0.4 * label) + person
            wave = np.sin(time + np.array([0, 1, 2])) + 0.3 * rng.standard_normal((length, 3))
            samples.append(wave.astype(np.float32))
    starts = np.arange(3 * people) * length
    return Recordings(
        samples=np.concatenate(samples),
        spans=np.stack([starts, starts + length], axis=1),
        labels=np.tile(np.arange(3), people),
        sources=np.repeat(np.arange(people), 3),
    )


@lru_cache
def central_weights() -> bytes:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return to_safetensors(build(ARCHITECTURE))


def build_tiny(seed: int = 0, device: str = "cpu") -> Family:
    return build_family(
        central_weights(),
        SPEC,
        recordings(1),
        recordings(2).unlabelled(),
        REGISTERED,
        GRID,
        seed,
        device=device,
    )


family = lru_cache(build_tiny)


@lru_cache
def updated(share: float = 0.1, tolerance: int = 4) -> Family:
    """The family after its central model was trained again: weights moved by `share` of their
    deviation, vectors and statistics by a tenth of that share."""
    rng, old = np.random.default_rng(0), family()
    edges = block_edges(old.header.architecture, GRID.widths)
    codes, scales, floats = {}, {}, {}
    for name, value in old.floats.items():
        noise = share * value.std() * rng.standard_normal(value.shape)
        floats[name] = (value + noise).astype(np.float32)
        scales[name] = near_scales(floats[name], edges[name], old.scales[name], tolerance)
        grid = steps(scales[name], edges[name], value.ndim, BITS)
        codes[name] = encode_near(floats[name], grid, old.codes[name], tolerance)

    def near(values: Mapping[str, Floats]) -> dict[str, Floats]:
        return {n: rounded(n, np.float32(1 + share / 10) * value) for n, value in values.items()}

    return replace(
        old,
        header=old.header.model_copy(update={"updates": old.digest, "update_share": 0.5}),
        codes=codes,
        scales=scales,
        floats=floats,
        vectors=near(old.vectors),
        statistics={each: near(own) for each, own in old.statistics.items()},
    )


def student(width: float, first: int, second: int, bits: int = 8) -> Student:
    return Student(width=width, depths=(first, second), bits=bits)


def shape(width: float, first: int, second: int) -> Student:
    """A shape of network, as `GRID.shapes()` has it: the student that is not quantised."""
    return student(width, first, second, bits=32)


def step(base: Student | None, student: Student) -> WeightsRecipe:
    return WeightsRecipe(base=base, student=student)
