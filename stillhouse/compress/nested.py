"""Trains all nested students of a network at once, as views of one set of weights.

Once-for-All (1908.09791), slimmable networks (1903.05134): each step sums the gradients of the
largest student, the smallest open one and some drawn ones on the same windows; the teacher is the
central model. Small students open one by one over the first part of the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from stillhouse.compress.arch import Network, build
from stillhouse.compress.container import FamilyGrid
from stillhouse.compress.sampler import WindowSampler
from stillhouse.entities import ArchitectureSpec, Student


@dataclass(frozen=True, slots=True)
class FamilyRecipe:
    """How the nested students train (with one drawn student a step the middle lags, WRIST)."""

    epochs: int = 9
    labelled: int = 48  # windows a step
    unlabelled: int = 16
    drawn: int = 2  # students a step, beside the largest and the smallest
    learning_rate: float = 0.05
    weight_decay: float = 1e-4
    temperature: float = 2.0
    label_smoothing: float = 0.05
    opening: float = 0.25  # share of the steps until the smallest student is open
    calibration_windows: int = 1000
    public_windows: int = 250


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T**2 KL(teacher || student) at temperature T, both logits [batch, classes]."""
    soft = F.softmax(teacher / temperature, 1)
    return F.kl_div(F.log_softmax(student / temperature, 1), soft, reduction="batchmean") * (
        temperature**2
    )


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
    samplers: tuple[WindowSampler, WindowSampler],
    steps: int,
    recipe: FamilyRecipe,
    rng: np.random.Generator,
) -> Iterator[float]:
    """Yields the fraction done after each step; `samplers`: labelled windows, unlabelled ones."""
    parameters = list(students.weights.parameters())
    optimiser = torch.optim.SGD(
        parameters, recipe.learning_rate, 0.9, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps + 1, pct_start=0.15
    )
    device = parameters[0].device
    for step in range(steps):
        labelled, labels = samplers[0].draw(recipe.labelled)
        x = np.concatenate([labelled, samplers[1].draw(recipe.unlabelled)[0]])
        inputs, targets = torch.from_numpy(x).to(device), torch.from_numpy(labels).to(device)
        with torch.no_grad():
            soft = teacher(inputs)
        optimiser.zero_grad()
        opened = open_students(students.grid, step / (steps * recipe.opening))
        for student in drawn_students(opened, recipe.drawn, rng):
            output = students(student, inputs)
            hard = F.cross_entropy(
                output[: len(targets)], targets, label_smoothing=recipe.label_smoothing
            )
            (0.5 * distillation_loss(output, soft, recipe.temperature) + 0.5 * hard).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        yield (step + 1) / steps


@torch.no_grad()
def recalibrate(model: Network, x: Tensor, batch: int = 250) -> Network:
    """Sets the statistics of batch norms to those of `x`, averaged over batches; then `eval`."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    model.train()
    for part in x.chunk(max(1, len(x) // batch)):
        model(part)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()
