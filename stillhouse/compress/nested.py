"""Trains all nested students of a network at once, as views of one set of weights.

Once-for-All (1908.09791), slimmable networks (1903.05134): each step sums the gradients of the
largest student, the smallest open one and some drawn ones on the same windows; the teacher is the
central model. Small students open one by one over the first part of the run.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from stillhouse.compress.arch import Network, build
from stillhouse.compress.losses import distillation_loss, feature_loss
from stillhouse.compress.quantize import Floats
from stillhouse.compress.recordings import Integers
from stillhouse.compress.sampler import WindowSampler
from stillhouse.entities import ArchitectureSpec, FamilyGrid, FamilyRecipe, Student

WORKERS = 2  # students of a step side by side, each on one thread
Gradients = tuple[Tensor | None, ...]


class NestedStudents:
    """One set of weights, and for every shape a network that runs on its corner of them."""

    def __init__(
        self, weights: nn.Module, spec: ArchitectureSpec, grid: FamilyGrid, device: str
    ) -> None:
        self.weights, self.grid = weights, grid
        self._networks = {s: build(spec, s).to(device).train() for s in grid.shapes()}

    def __call__(self, student: Student, x: Tensor) -> Tensor:
        """Logits of `student` by the batch's own statistics; gradients reach the shared weights."""
        network = self._networks[student]
        logits: Tensor = functional_call(network, self._corner(network), (x,))
        return logits

    def _corner(self, network: nn.Module) -> dict[str, Tensor]:
        shared = dict(self.weights.named_parameters())
        return {
            name: shared[name][tuple(map(slice, own.shape))]
            for name, own in network.named_parameters()
        }


def open_students(grid: FamilyGrid, progress: float) -> list[Student]:
    """The shapes that train after `progress` (0 to 1) of the opening, the smallest first."""

    def still(options: tuple[float, ...]) -> tuple[float, ...]:
        ordered = sorted(options, reverse=True)
        return tuple(ordered[: 1 + int(min(1.0, progress) * (len(ordered) - 1) + 1e-9)])

    widths, depths = still(grid.widths), [still(options) for options in grid.depths]
    return [
        s
        for s in grid.shapes()
        if s.width in widths and all(d in open for d, open in zip(s.depths, depths, strict=True))
    ]


def drawn_students(
    opened: list[Student], count: int, rng: np.random.Generator
) -> Iterator[Student]:
    """The sandwich: the largest, the smallest, `count` by chance, all but one of them narrow."""
    narrow = [s for s in opened if s.width < 1] or opened
    yield opened[-1]
    yield opened[0]
    for index in range(count):
        options = narrow if index else opened
        yield options[rng.integers(len(options))]


def train_nested(
    students: NestedStudents,
    teacher: nn.Module,
    samplers: tuple[WindowSampler | None, WindowSampler],
    steps: int,
    recipe: FamilyRecipe,
    rng: np.random.Generator,
    *,
    embeds: bool = False,
) -> Iterator[float]:
    """Yields the fraction done after each step.

    `samplers`: labelled windows, if there are any, and unlabelled ones, on which the teacher alone
    teaches; it does so on all windows of a model that embeds. Students of a step run side by side.
    """
    parameters = list(students.weights.parameters())
    optimiser = optimiser_of(
        parameters, recipe.optimiser, recipe.learning_rate, recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps + 1, pct_start=0.15
    )
    device = parameters[0].device

    def gradients(student: Student, x: Tensor, soft: Tensor, targets: Tensor) -> Gradients:
        loss = _loss(students(student, x), soft, targets, recipe, embeds=embeds)
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    with ThreadPoolExecutor(WORKERS if device.type == "cpu" else 1) as pool:
        for step in range(steps):
            x, labels = (torch.from_numpy(a).to(device) for a in _drawn(samplers, recipe))
            with torch.no_grad():
                soft = teacher(x)
            opened = open_students(students.grid, step / max(1e-9, steps * recipe.opening))
            drawn = Counter(drawn_students(opened, recipe.drawn, rng))
            found = pool.map(gradients, drawn, repeat(x), repeat(soft), repeat(labels))
            _sum_gradients(parameters, list(found), list(drawn.values()))
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            schedule.step()
            yield (step + 1) / steps


def _loss(
    output: Tensor, soft: Tensor, targets: Tensor, recipe: FamilyRecipe, *, embeds: bool
) -> Tensor:
    """Of one student's outputs against the teacher's `soft` ones, and the labels that there are."""
    if embeds:
        return feature_loss(output, soft)
    loss = distillation_loss(output, soft, recipe.temperature)
    if not len(targets):
        return loss
    smoothed = recipe.label_smoothing
    hard = F.cross_entropy(output[: len(targets)], targets, label_smoothing=smoothed)
    return 0.5 * loss + 0.5 * hard


def _sum_gradients(
    parameters: Sequence[nn.Parameter], found: Sequence[Gradients], times: Sequence[int]
) -> None:
    """Sets the parameters' gradients to the sum, in the order in which students were drawn: the
    same whichever thread was first."""
    for index, parameter in enumerate(parameters):
        parts = [(g[index], n) for g, n in zip(found, times, strict=True)]
        terms = [gradient * count for gradient, count in parts if gradient is not None]
        parameter.grad = torch.stack(terms).sum(0) if terms else None


def _drawn(
    samplers: tuple[WindowSampler | None, WindowSampler], recipe: FamilyRecipe
) -> tuple[Floats, Integers]:
    """Windows of a step, the labelled ones first, and the labels of those."""
    labelled, unlabelled = samplers
    if labelled is None:
        x, _ = unlabelled.draw(recipe.labelled + recipe.unlabelled)
        return x, np.empty(0, np.int64)
    x, labels = labelled.draw(recipe.labelled)
    if not recipe.unlabelled:
        return x, labels
    return np.concatenate([x, unlabelled.draw(recipe.unlabelled)[0]]), labels


def optimiser_of(
    parameters: Sequence[nn.Parameter],
    kind: Literal["sgd", "adamw"],
    learning_rate: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum for convolutions, AdamW (1711.05101) for transformers."""
    if kind == "adamw":
        return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    return torch.optim.SGD(parameters, learning_rate, 0.9, weight_decay=weight_decay, nesterov=True)


@torch.no_grad()
def recalibrate(model: Network, x: Tensor, batch: int = 250) -> Network:
    """Sets the statistics of batch norms to those of `x`, averaged over batches; then `eval`."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if not norms:
        return model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    model.train()
    for part in x.chunk(max(1, len(x) // batch)):
        model(part)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()
