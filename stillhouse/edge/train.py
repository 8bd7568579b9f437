"""Trains a student on the device: public soft labels anchor it, private hard ones make it personal.

Without the public anchor a student forgets what its person has not shown; without batch norms of
its own windows it starts in a foreign body (WRIST, 18 runs). Weights stay on the family's grid:
rounded in the forward pass, with the gradient passed straight through (1308.3432).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from stillhouse.compress.arch import Network, build, load_state
from stillhouse.compress.behaviour import Behaviour
from stillhouse.compress.measure import Score, logits
from stillhouse.compress.nested import recalibrate
from stillhouse.compress.quantize import Floats
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.sampler import WindowSampler, rotated
from stillhouse.compress.slices import assemble
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import ArchitectureSpec, Preprocessing, Student, TrainingRecipe
from stillhouse.errors import VerificationFailed

LABELLED_WINDOWS = 4  # of a class, in samples (8 s on the wrist data): with less it does not train
ROLLBACK_SE = 2.0  # validation is noisy: "keep the best" would wipe out most gains
RESAMPLES = 200

Anchor = Callable[[int], tuple[Tensor, Tensor]]  # windows wanted -> inputs, soft targets


class FakeQuantised(nn.Module):
    """Rounds a weight to the family's grid; the gradient passes as if it did not."""

    step: Tensor
    middle: int

    def __init__(self, step: Floats, bits: int) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(step), persistent=False)
        self.middle = 2 ** (bits - 1)

    def forward(self, weight: Tensor) -> Tensor:
        code = (weight.detach() / self.step).floor().clamp(-self.middle, self.middle - 1)
        return weight + ((code + 0.5) * self.step - weight.detach())


@dataclass(frozen=True, slots=True)
class Training:
    """What training did: the score on validation before and after, and whether it was undone."""

    before: Score
    after: Score
    rolled_back: bool


def load_student(
    architecture: ArchitectureSpec, student: Student, chunks: Sequence[bytes]
) -> Network:
    """The student that weights `chunks` lead to, ready to train or run.

    Raises VerificationFailed if they are malformed or lead to another student.
    """
    arrays = assemble(architecture, chunks)
    if arrays.student != student:
        raise VerificationFailed(f"chunks of {arrays.student}, not of {student}")
    model = load_state(build(architecture, student), arrays.state())
    for name, step in arrays.steps.items():
        module = model.get_submodule(name.removesuffix(".weight"))
        register_parametrization(module, "weight", FakeQuantised(step, student.bits))
    return model.eval()


def baked(model: nn.Module, architecture: ArchitectureSpec, student: Student) -> Network:
    """A plain network with the weights that `model` computes with, which are on the grid."""
    plain = build(architecture, student)
    state = {}
    for name in plain.state_dict():
        module, _, leaf = name.rpartition(".")
        state[name] = getattr(model.get_submodule(module), leaf).detach().clone()
    plain.load_state_dict(state)
    return plain.eval()


def train(
    model: Network,
    private: Recordings,
    validation: Recordings,
    pre: Preprocessing,
    recipe: TrainingRecipe,
    public: PublicWindows | None = None,
    behaviour: Behaviour | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Training:
    """Trains `model` in place on `private`; the same recipe and data give the same weights.

    Without `public` windows and `behaviour` the student anchors itself as it was, on private ones.
    Undone if validation shows a loss of two standard errors. Raises Invalid if no class has labels
    enough and VerificationFailed if `behaviour` is not of `public`.
    """
    before = accuracy(model, validation, pre, recipe.seed)
    start = copy.deepcopy(model.state_dict())
    rng = np.random.default_rng(recipe.seed)
    known = private.select(np.isin(private.labels, trainable_classes(private, pre)))
    sampler = WindowSampler(known, pre, rng, recipe.rotation_sd_rad, recipe.time_warp)
    recalibrate(model, torch.from_numpy(known.windows(pre)[0]))
    if public is None or behaviour is None:
        anchor = _self_anchor(model, sampler, recipe)
    else:
        anchor = _public_anchor(public, behaviour, pre, rng, recipe)
    _fit(model, sampler, anchor, recipe, progress)
    after = accuracy(model, validation, pre, recipe.seed)
    rolled_back = after.accuracy < before.accuracy - ROLLBACK_SE * max(before.se, after.se)
    if rolled_back:
        model.load_state_dict(start)
    return Training(before, after, rolled_back)


def trainable_classes(private: Recordings, pre: Preprocessing) -> list[int]:
    """Classes with enough labelled samples: from a few windows of one a student only unlearns."""
    lengths, labels = private.lengths(), private.labels
    needed = LABELLED_WINDOWS * pre.window
    return [
        c for c in np.unique(labels).tolist() if c >= 0 and lengths[labels == c].sum() >= needed
    ]


def _public_anchor(
    public: PublicWindows,
    behaviour: Behaviour,
    pre: Preprocessing,
    rng: np.random.Generator,
    recipe: TrainingRecipe,
) -> Anchor:
    x = public.values()[behaviour.first : behaviour.first + len(behaviour)]
    if len(x) < len(behaviour):
        raise VerificationFailed("behaviour on more windows than the device holds")
    soft = behaviour.soft_targets(recipe.temperature)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        chosen = rng.integers(len(x), size=count)
        turned = rotated(x[chosen], pre, rng, recipe.rotation_sd_rad)
        return torch.from_numpy(turned), torch.from_numpy(soft[chosen])

    return draw


def _self_anchor(model: nn.Module, sampler: WindowSampler, recipe: TrainingRecipe) -> Anchor:
    start = copy.deepcopy(model)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        x = sampler.draw(count)[0]
        soft = torch.from_numpy(logits(start, x)) / recipe.temperature
        return torch.from_numpy(x), F.softmax(soft, 1)

    return draw


def _fit(
    model: nn.Module,
    sampler: WindowSampler,
    anchor: Anchor,
    recipe: TrainingRecipe,
    progress: Callable[[float], None],
) -> None:
    """Batch norms keep their statistics: `model` stays in evaluation mode throughout."""
    parameters, share = list(model.parameters()), recipe.public_share
    optimiser = torch.optim.SGD(
        parameters, recipe.learning_rate, 0.9, weight_decay=1e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.2
    )
    for step in range(recipe.steps):
        x, labels = map(torch.from_numpy, sampler.draw(recipe.batch - recipe.batch // 2))
        anchored, soft = anchor(recipe.batch // 2)
        output = model(torch.cat([x, anchored]))
        hard = F.cross_entropy(output[: len(x)], labels)
        student = F.log_softmax(output[len(x) :] / recipe.temperature, 1)
        kept = F.kl_div(student, soft, reduction="batchmean") * recipe.temperature**2
        optimiser.zero_grad()
        (share * kept + (1 - share) * hard).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        progress((step + 1) / recipe.steps)


def accuracy(model: nn.Module, recordings: Recordings, pre: Preprocessing, seed: int) -> Score:
    """Over windows; the standard error by bootstrap over recordings, whose windows are not free."""
    x, labels, owner = recordings.windows(pre)
    right = logits(model, x).argmax(1) == labels
    sums, counts = (np.bincount(owner, v, len(recordings)) for v in (right, np.ones(len(right))))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(recordings), size=(RESAMPLES, len(recordings)))
    resampled = sums[drawn].sum(axis=1) / np.maximum(1, counts[drawn].sum(axis=1))
    return Score(float(right.mean()), max(float(resampled.std()), _least_error(right)), len(right))


def _least_error(right: NDArray[np.bool_]) -> float:
    """By the rule of succession: that all windows were right does not mean that all will be."""
    share = (right.sum() + 1) / (len(right) + 2)
    return float((share * (1 - share) / len(right)) ** 0.5)
