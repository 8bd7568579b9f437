"""Builds a family from a central model: rank, sort, train all students, quantise, measure each."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from torch import nn

from stillhouse.chunks import Routes
from stillhouse.compress.arch import Network, build, load_state, load_weights, weights_of
from stillhouse.compress.architectures import block_edges, described, network
from stillhouse.compress.container import Family, FamilyHeader
from stillhouse.compress.encoder import TextEncoder
from stillhouse.compress.importance import sort_channels
from stillhouse.compress.influence import rank_blocks
from stillhouse.compress.layout import Role, kept
from stillhouse.compress.measure import (
    Operations,
    activation_bytes,
    logits,
    operations,
    similarity,
    training_bytes,
)
from stillhouse.compress.nested import NestedStudents, recalibrate, train_nested
from stillhouse.compress.pack import update_share
from stillhouse.compress.quantize import (
    BITS,
    FLOAT_BITS,
    Floats,
    block_scales,
    encode,
    encode_near,
    near_scales,
    steps,
)
from stillhouse.compress.reconstruction import reconstruct
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.sampler import WindowSampler
from stillhouse.compress.slices import own_bytes, recipe_bytes, rounded
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import (
    TRAINABLE,
    ArchitectureSpec,
    CentralModelSpec,
    FamilyGrid,
    FamilyRecipe,
    Preprocessing,
    Student,
    StudentFacts,
    WeightsRecipe,
)
from stillhouse.errors import Invalid

__all__ = ["Family", "build_family"]

TRAINING_SHARE, SIZES_SHARE = 0.7, 0.9  # of a build's time: until trained, until all are measured
SORTING_WINDOWS, SORTING_TEXTS = 500, 128  # that importance and influence are measured on
AGREEMENT_WINDOWS, AGREEMENT_TEXTS = 1000, 256  # that agreement is measured on
RECONSTRUCTION_TEXTS = 1000
UPDATE_STEPS, UPDATE_RATE = 0.3, 0.2  # of a fresh build's steps and learning rate
UPDATE_TOLERANCE = 4  # eight-bit codes that an update may miss a weight by: half a step of 4 bits
PRIOR_GAIN = 0.01  # what training on a device brings on average (WRIST: a prior without labels)
PRIOR_SLOPE = 0.5  # what a point of agreement with the central model is worth (WRIST)
COSINE_SLOPE = 0.25  # what a hundredth of cosine is worth where it embeds (MiniLM, one family)

Progress = Callable[[float], None]


def build_family(
    central_weights: bytes,
    spec: CentralModelSpec,
    training: Recordings | None,
    transfer: Recordings,
    registered: tuple[float, float],
    grid: FamilyGrid,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress = lambda _: None,
    previous: Family | None = None,
) -> Family:
    """The family of a central model whose accuracy and standard error are `registered`.

    `training` is labelled, `transfer` need not be and is enough; `progress` hears fractions. With
    the `previous` version's family, of the same architecture and grid, students begin as they were
    and keep its grid of integers, so that devices can update. On a CPU with one torch thread the
    same seed gives the same digest. Raises UnsupportedFormat or Invalid.
    """
    _check(spec, training, transfer)
    pre, rng = spec.preprocessing, np.random.default_rng(seed)
    recipe = spec.family if previous is None else _updating(spec.family)
    unlabelled = transfer.windows(pre)[0]
    windows = unlabelled if training is None else training.windows(pre)[0]
    central = load_weights(build(spec.architecture), central_weights).to(device).eval()
    embeds = network(spec.architecture).embeds
    if previous is None:
        ranked, shared = _sorted(central, spec, grid, rng.permutation(windows), device)
    else:
        ranked, shared = _continued(previous, device)
    students = NestedStudents(shared, ranked, grid, device)
    samplers = (
        None if training is None else WindowSampler(training, pre, rng, pre.rotation_sd_rad),
        WindowSampler(transfer, pre, rng, pre.rotation_sd_rad),
    )
    epoch = max(1, len(windows) // max(1, recipe.labelled + recipe.unlabelled))
    count = recipe.epochs * epoch if recipe.steps is None else recipe.steps
    if previous is not None:
        count = round(UPDATE_STEPS * count)
    for fraction in train_nested(students, central, samplers, count, recipe, rng, embeds=embeds):
        progress(TRAINING_SHARE * fraction)
    public = PublicWindows.choose(unlabelled, recipe.public_windows, discrete=pre.discrete)
    header = FamilyHeader(
        architecture=ranked,
        preprocessing=pre,
        grid=grid,
        registered_accuracy=registered[0],
        registered_accuracy_se=registered[1],
        training=spec.training,
        updates=None if previous is None else previous.digest,
    )
    answers = logits(central, public.values(), device)
    family = _quantised(shared, header, public, answers, previous)
    both = unlabelled if training is None else np.concatenate([windows, unlabelled])
    calibration = rng.permutation(both)[: recipe.calibration_windows]
    some = rng.permutation(unlabelled)[: AGREEMENT_TEXTS if pre.discrete else AGREEMENT_WINDOWS]
    teacher = logits(central, some, device)
    whole = _measured(family, calibration, (some, teacher), device, progress)
    if previous is None:
        return whole
    share = {"update_share": update_share(previous, whole)}
    return replace(whole, header=whole.header.model_copy(update=share))


def _updating(recipe: FamilyRecipe) -> FamilyRecipe:
    """Students that were trained before need little more; the further they move, the more every
    device has to fetch."""
    gentle = {"learning_rate": UPDATE_RATE * recipe.learning_rate, "opening": 0.0}
    return recipe.model_copy(update=gentle)


def _check(spec: CentralModelSpec, training: Recordings | None, transfer: Recordings) -> None:
    full, pre = network(spec.architecture), spec.preprocessing
    if not full.embeds and full.outputs != len(spec.labels):
        raise Invalid(f"{len(spec.labels)} labels for {full.outputs} classes")
    axes = {transfer.samples.shape[1], len(pre.mean), len(pre.deviation)}
    if training is not None:
        axes.add(training.samples.shape[1])
        if training.labels.min() < 0 or training.labels.max() >= len(spec.labels):
            raise Invalid("training recordings without a label of the model's")
    if axes != {full.axes}:
        raise Invalid(f"recordings or preprocessing of other axes than the model's {full.axes}")
    full.check_windows(pre.window, discrete=pre.discrete)


def _sorted(
    central: Network, spec: CentralModelSpec, grid: FamilyGrid, windows: Floats, device: str
) -> tuple[ArchitectureSpec, Network]:
    """The architecture with its blocks ranked, and a copy of `central` with its channels sorted.

    Where no student has all layers of an encoder, those of the deepest make up for the others.
    """
    full, deepest = network(spec.architecture), tuple(map(max, grid.depths))
    some = windows[: SORTING_TEXTS if spec.preprocessing.discrete else SORTING_WINDOWS]
    ranking = rank_blocks(central, full.rankings, some, embeds=full.embeds, device=device)
    shared = copy.deepcopy(central)
    if isinstance(shared, TextEncoder) and deepest < full.depths:
        x = torch.from_numpy(windows[:RECONSTRUCTION_TEXTS]).to(device)
        reconstruct(shared, kept(ranking[0], deepest[0]), x)
    sort_channels(shared, some, device)
    return described(spec.architecture.id, full.ranked(ranking)), shared


def _continued(previous: Family, device: str) -> tuple[ArchitectureSpec, Network]:
    """Where the family of the version before ended."""
    spec = previous.header.architecture
    full = network(spec)
    largest = Student(width=1, depths=full.depths, bits=max(previous.header.grid.bits))
    model = load_state(build(spec), previous.weights(largest))
    return spec, load_state(model, previous.statistics[largest]).to(device)


def _quantised(
    shared: nn.Module,
    header: FamilyHeader,
    public: PublicWindows,
    soft: Floats,
    previous: Family | None,
) -> Family:
    """The family without what each student has of its own."""
    edges, tensors = block_edges(header.architecture, header.grid.widths), weights_of(shared)
    codes, scales, vectors, floats = {}, {}, {}, {}
    for tensor in network(header.architecture).tensors():
        name, value = tensor.name, tensors[tensor.name]
        if tensor.role is Role.WEIGHT:
            blocks, held = edges[name], previous.codes[name] if previous else None
            if previous is None or held is None:
                scales[name] = block_scales(value, blocks)
                codes[name] = encode(value, steps(scales[name], blocks, value.ndim, BITS))
            else:
                scales[name] = near_scales(value, blocks, previous.scales[name], UPDATE_TOLERANCE)
                step = steps(scales[name], blocks, value.ndim, BITS)
                codes[name] = encode_near(value, step, held, UPDATE_TOLERANCE)
            if FLOAT_BITS in header.grid.bits:
                floats[name] = value
        elif tensor.role is Role.VECTOR:
            vectors[name] = rounded(name, value)
    return Family(header, codes, scales, vectors, floats, {}, public, soft)


def _measured(
    family: Family,
    calibration: Floats,
    transfer: tuple[Floats, Floats],
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
        statistics[student] = {name: rounded(name, state[name]) for name in own}
        load_state(model, statistics[student])
        answers = logits(model, transfer[0], device)
        agreement[student] = similarity(answers, transfer[1], embeds=network(architecture).embeds)
        progress(TRAINING_SHARE + (SIZES_SHARE - TRAINING_SHARE) * index / len(students))
    whole, best = replace(family, statistics=statistics), max(agreement.values())
    costs = {shape: _shape_cost(whole.header, shape) for shape in family.header.grid.shapes()}
    rows = tuple(
        _facts(whole, s, costs[shape_of(family.header.grid, s)], agreement[s], best)
        for s in students
    )
    progress(1.0)
    return _referenced(replace(whole, header=family.header.model_copy(update={"rows": rows})))


@dataclass(frozen=True, slots=True)
class ShapeCost:
    """What a network takes whatever the bits of its weights."""

    parameters: int
    operations: Operations
    activation_bytes: int
    training_bytes: tuple[int, ...]  # while the shares TRAINABLE train


def window_shape(pre: Preprocessing) -> tuple[int, int]:
    """(axes, samples) of one input."""
    return len(pre.mean), pre.window


def shape_of(grid: FamilyGrid, student: Student) -> Student:
    """The student of the same shape in `grid.shapes()`."""
    return student.model_copy(update={"bits": max(grid.bits)})


def _shape_cost(header: FamilyHeader, shape: Student) -> ShapeCost:
    model = build(header.architecture, shape)
    window = window_shape(header.preprocessing)
    return ShapeCost(
        parameters=sum(p.numel() for p in model.parameters()),
        operations=operations(model, window),
        activation_bytes=activation_bytes(model, window),
        training_bytes=tuple(
            training_bytes(model, window, header.training.batch, share) for share in TRAINABLE
        ),
    )


def _referenced(family: Family) -> Family:
    """With what a device that begins with nothing keeps of each student: the chunks of its path,
    which takes the table's accuracies to know, a little more than one chunk of the whole student.
    """
    routes, rows = Routes(family.table), []
    for row in family.header.rows:
        path = routes.to(row.student)
        more = ceil(sum(map(routes.new_bytes, path))) + len(path) - row.wire_bytes
        peaks = (row.memory_bytes, *row.training_memory_bytes)
        memory, *training = (more + peak for peak in peaks)
        update = {"storage_bytes": row.wire_bytes + more, "memory_bytes": memory}
        rows.append(row.model_copy(update={**update, "training_memory_bytes": tuple(training)}))
    return replace(family, header=family.header.model_copy(update={"rows": tuple(rows)}))


def _facts(
    family: Family, student: Student, cost: ShapeCost, agreement: float, best: float
) -> StudentFacts:
    """`best` is the agreement of the student that agrees most."""
    header = family.header
    whole = WeightsRecipe(base=None, student=student)
    wire_bytes = recipe_bytes(header.architecture, header.grid.widths, whole)
    slope = COSINE_SLOPE if network(header.architecture).embeds else PRIOR_SLOPE
    accuracy = header.registered_accuracy + PRIOR_GAIN + slope * (agreement - best)
    return StudentFacts(
        student=student,
        accuracy=min(1.0, max(0.0, accuracy)),
        agreement=agreement,
        parameters=cost.parameters,
        wire_bytes=wire_bytes,
        own_bytes=own_bytes(header.architecture, student),
        storage_bytes=wire_bytes,
        memory_bytes=wire_bytes + cost.activation_bytes,
        training_memory_bytes=tuple(wire_bytes + peak for peak in cost.training_bytes),
        layers=cost.operations.layers,
        macs=cost.operations.macs,
    )
