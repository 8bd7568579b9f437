"""Builds a family from a central model: sort, train all students, quantise, measure each."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from stillhouse.chunks import weights_chunks
from stillhouse.compress.arch import build, load_state, load_weights, weights_of
from stillhouse.compress.container import Family, FamilyGrid, FamilyHeader, block_edges
from stillhouse.compress.importance import sort_channels
from stillhouse.compress.layout import Role, network
from stillhouse.compress.measure import (
    Operations,
    activation_bytes,
    logits,
    operations,
    training_bytes,
)
from stillhouse.compress.nested import FamilyRecipe, NestedStudents, recalibrate, train_nested
from stillhouse.compress.quantize import BITS, FLOAT_BITS, Floats, block_scales, encode, steps
from stillhouse.compress.recordings import Integers, Recordings
from stillhouse.compress.sampler import WindowSampler
from stillhouse.compress.slices import weights_chunk
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import CentralModelSpec, Student, StudentFacts, TrainingRecipe
from stillhouse.errors import Invalid

__all__ = ["RECIPE", "Family", "FamilyGrid", "FamilyRecipe", "build_family"]

RECIPE = FamilyRecipe()
TRAINING_SHARE, SIZES_SHARE = 0.7, 0.9  # of a build's time: until trained, until all are measured
PRIOR_GAIN = 0.01  # what training on a device brings on average (WRIST: a prior without labels)
PRIOR_SLOPE = 0.5  # what a point of agreement with the central model is worth

Progress = Callable[[float], None]


def build_family(
    central_weights: bytes,
    spec: CentralModelSpec,
    training: Recordings,
    transfer: Recordings,
    registered: tuple[float, float],
    grid: FamilyGrid,
    seed: int,
    device: str = "cpu",
    progress: Progress = lambda _: None,
    recipe: FamilyRecipe = RECIPE,
) -> Family:
    """The family of a central model whose accuracy and standard error are `registered`.

    `training` is labelled, `transfer` need not be; `progress` hears fractions. On a CPU with one
    torch thread the same seed gives the same digest. Raises UnsupportedFormat or Invalid.
    """
    _check(spec, training, transfer)
    pre, rng = spec.preprocessing, np.random.default_rng(seed)
    labelled, unlabelled = training.windows(pre)[0], transfer.windows(pre)[0]
    central = load_weights(build(spec.architecture), central_weights).to(device).eval()
    shared = copy.deepcopy(central)
    sort_channels(shared, rng.permutation(labelled)[:500], device)
    students = NestedStudents(shared, spec.architecture, grid, device)
    samplers = (
        WindowSampler(training, pre, rng, pre.rotation_sd_rad),
        WindowSampler(transfer, pre, rng, pre.rotation_sd_rad),
    )
    count = recipe.epochs * max(1, len(labelled) // (recipe.labelled + recipe.unlabelled))
    for fraction in train_nested(students, central, samplers, count, recipe, rng):
        progress(TRAINING_SHARE * fraction)
    public = PublicWindows.choose(unlabelled, recipe.public_windows)
    header = FamilyHeader(
        architecture=spec.architecture,
        preprocessing=pre,
        grid=grid,
        registered_accuracy=registered[0],
        registered_accuracy_se=registered[1],
    )
    family = _quantised(shared, header, public, logits(central, public.values(), device))
    both = rng.permutation(np.concatenate([labelled, unlabelled]))[: recipe.calibration_windows]
    answers = logits(central, unlabelled, device).argmax(1)
    return _measured(family, both, (unlabelled, answers), device, progress)


def _check(spec: CentralModelSpec, training: Recordings, transfer: Recordings) -> None:
    full, pre = network(spec.architecture), spec.preprocessing
    if full.classes != len(spec.labels):
        raise Invalid(f"{len(spec.labels)} labels for {full.classes} classes")
    axes = {training.samples.shape[1], transfer.samples.shape[1], len(pre.mean), len(pre.deviation)}
    if axes != {full.inputs}:
        raise Invalid(f"recordings or preprocessing of other axes than the model's {full.inputs}")
    if training.labels.min() < 0 or training.labels.max() >= full.classes:
        raise Invalid("training recordings without a label of the model's")


def _quantised(
    shared: nn.Module, header: FamilyHeader, public: PublicWindows, soft: Floats
) -> Family:
    """The family without what each student has of its own."""
    edges, tensors = block_edges(header.architecture, header.grid.widths), weights_of(shared)
    codes, scales, vectors, floats = {}, {}, {}, {}
    for tensor in network(header.architecture).tensors():
        value = tensors[tensor.name]
        if tensor.role is Role.WEIGHT:
            blocks = edges[tensor.name]
            scales[tensor.name] = block_scales(value, blocks)
            step = steps(scales[tensor.name], blocks, value.ndim, BITS)
            codes[tensor.name] = encode(value, step)
            if FLOAT_BITS in header.grid.bits:
                floats[tensor.name] = value
        elif tensor.role is Role.VECTOR:
            vectors[tensor.name] = value
    return Family(header, codes, scales, vectors, floats, {}, public, soft)


def _measured(
    family: Family,
    calibration: Floats,
    transfer: tuple[Floats, Integers],
    device: str,
    progress: Progress,
) -> Family:
    """The family with each student's statistics and facts; `transfer` has the central's answers."""
    architecture, students = family.header.architecture, family.header.grid.students()
    x, statistics, agreement = torch.from_numpy(calibration).to(device), {}, {}
    for index, student in enumerate(students, 1):
        model = load_state(build(architecture, student), family.weights(student)).to(device)
        state = weights_of(recalibrate(model, x))
        own = [t.name for t in network(architecture, student).tensors() if t.role is Role.STATISTIC]
        statistics[student] = {name: state[name] for name in own}
        agreement[student] = float(
            (logits(model, transfer[0], device).argmax(1) == transfer[1]).mean()
        )
        progress(TRAINING_SHARE + (SIZES_SHARE - TRAINING_SHARE) * index / len(students))
    whole, best = replace(family, statistics=statistics), max(agreement.values())
    costs = {shape: _shape_cost(whole.header, shape) for shape in family.header.grid.shapes()}
    rows = tuple(
        _facts(whole, s, costs[shape_of(family.header.grid, s)], agreement[s], best)
        for s in students
    )
    progress(1.0)
    return replace(whole, header=family.header.model_copy(update={"rows": rows}))


@dataclass(frozen=True, slots=True)
class ShapeCost:
    """What a network takes whatever the bits of its weights."""

    parameters: int
    operations: Operations
    activation_bytes: int
    training_bytes: int


def shape_of(grid: FamilyGrid, student: Student) -> Student:
    """The student of the same shape in `grid.shapes()`."""
    return student.model_copy(update={"bits": max(grid.bits)})


def _shape_cost(header: FamilyHeader, shape: Student) -> ShapeCost:
    model = build(header.architecture, shape)
    window = (len(header.preprocessing.mean), header.preprocessing.window)
    return ShapeCost(
        parameters=sum(p.numel() for p in model.parameters()),
        operations=operations(model, window),
        activation_bytes=activation_bytes(model, window),
        training_bytes=training_bytes(model, window, TrainingRecipe.model_fields["batch"].default),
    )


def _facts(
    family: Family, student: Student, cost: ShapeCost, agreement: float, best: float
) -> StudentFacts:
    """`best` is the agreement of the student that agrees most."""
    header, stored = family.header, family.stored_bytes(student)
    chunks = weights_chunks(header.grid.students(), student)
    accuracy = header.registered_accuracy + PRIOR_GAIN + PRIOR_SLOPE * (agreement - best)
    return StudentFacts(
        student=student,
        accuracy=min(1.0, max(0.0, accuracy)),
        agreement=agreement,
        parameters=cost.parameters,
        wire_bytes=sum(len(weights_chunk(family, recipe)) for recipe in chunks),
        storage_bytes=stored,
        memory_bytes=stored + cost.activation_bytes,
        training_memory_bytes=stored + cost.training_bytes,
        layers=cost.operations.layers,
        macs=cost.operations.macs,
    )
