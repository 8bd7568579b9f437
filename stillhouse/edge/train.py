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

from stillhouse.compress.arch import Network, build, load_state
from stillhouse.compress.behaviour import Behaviour
from stillhouse.compress.groups import train_last
from stillhouse.compress.losses import (
    centroid_logits,
    centroids_of,
    distillation_loss,
    feature_loss,
)
from stillhouse.compress.measure import Score, logits, nearest
from stillhouse.compress.nested import optimiser_of, recalibrate
from stillhouse.compress.qat import quantisation_aware
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.sampler import WindowSampler, rotated
from stillhouse.compress.slices import assemble
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import ArchitectureSpec, Preprocessing, Student, TrainingRecipe
from stillhouse.errors import VerificationFailed

WEIGHT_DECAY = 1e-4
LABELLED_WINDOWS = 4  # of a class, in samples (8 s on the wrist data): with less it does not train
ROLLBACK_SE = 2.0  # validation is noisy: "keep the best" would wipe out most gains
RESAMPLES = 200

Anchor = Callable[[int], tuple[Tensor, Tensor]]  # windows wanted -> inputs, teacher's outputs


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
    quantisation_aware(model, arrays.steps, student.bits)
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
    *,
    embeds: bool = False,
) -> Training:
    """Trains `model` in place on `private`; the same recipe and data give the same weights.

    Without `public` windows and `behaviour` the student anchors itself as it was, on private ones.
    Undone if validation shows a loss of two standard errors. Raises Invalid if no class has labels
    enough and VerificationFailed if `behaviour` is not of `public`.
    """
    support = private if embeds else None
    before = accuracy(model, validation, pre, recipe.seed, support)
    start = copy.deepcopy(model.state_dict())
    rng = np.random.default_rng(recipe.seed)
    known = private.select(np.isin(private.labels, trainable_classes(private, pre)))
    sampler = WindowSampler(known, pre, rng, recipe.rotation_sd_rad, recipe.time_warp)
    if recipe.adapt:
        recalibrate(model, torch.from_numpy(known.windows(pre)[0]))
    if public is None or behaviour is None:
        anchor = _self_anchor(model, sampler)
    else:
        anchor = _public_anchor(public, behaviour, pre, rng, recipe)
    hard = _hard(model, known, pre, embeds=embeds)
    _fit(model, sampler, anchor, hard, recipe, progress, embeds=embeds)
    after = accuracy(model, validation, pre, recipe.seed, support)
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
    features = behaviour.features
    taught = np.log(behaviour.soft_targets(1)) if features is None else features

    def draw(count: int) -> tuple[Tensor, Tensor]:
        chosen = rng.integers(len(x), size=count)
        turned = rotated(x[chosen], pre, rng, recipe.rotation_sd_rad)
        return torch.from_numpy(turned), torch.from_numpy(taught[chosen])

    return draw


def _self_anchor(model: nn.Module, sampler: WindowSampler) -> Anchor:
    start = copy.deepcopy(model)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        x = sampler.draw(count)[0]
        return torch.from_numpy(x), torch.from_numpy(logits(start, x))

    return draw


def _hard(
    model: nn.Module, private: Recordings, pre: Preprocessing, *, embeds: bool
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of outputs against private labels; of features by the classes' centroids, which are
    those of the student as it was received."""
    if not embeds:
        return F.cross_entropy
    x, labels, _ = private.windows(pre)
    parts = (torch.from_numpy(logits(model, x)), torch.from_numpy(labels), int(labels.max()) + 1)
    centroids = centroids_of(*parts)
    return lambda features, wanted: F.cross_entropy(centroid_logits(features, centroids), wanted)


def _fit(
    model: Network,
    sampler: WindowSampler,
    anchor: Anchor,
    hard: Callable[[Tensor, Tensor], Tensor],
    recipe: TrainingRecipe,
    progress: Callable[[float], None],
    *,
    embeds: bool,
) -> None:
    """Batch norms keep their statistics: `model` stays in evaluation mode throughout."""
    parameters, share = train_last(model, recipe.trainable), recipe.public_share
    optimiser = optimiser_of(parameters, recipe.optimiser, recipe.learning_rate, WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.2
    )
    for step in range(recipe.steps):
        x, labels = map(torch.from_numpy, sampler.draw(recipe.batch - recipe.batch // 2))
        anchored, taught = anchor(recipe.batch // 2)
        output = model(torch.cat([x, anchored]))
        kept = (
            feature_loss(output[len(x) :], taught)
            if embeds
            else distillation_loss(
                output[len(x) :], taught, recipe.temperature, standardise=recipe.standardise
            )
        )
        optimiser.zero_grad()
        (share * kept + (1 - share) * hard(output[: len(x)], labels)).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        progress((step + 1) / recipe.steps)


def accuracy(
    model: nn.Module,
    recordings: Recordings,
    pre: Preprocessing,
    seed: int,
    support: Recordings | None = None,
) -> Score:
    """Over windows; the standard error by bootstrap over recordings, whose windows are not free.

    A model that embeds names the class of the nearest centroid of the labelled `support`.
    """
    x, labels, owner = recordings.windows(pre)
    outputs = logits(model, x)
    if support is None:
        found = outputs.argmax(1)
    else:
        known, classes, _ = support.windows(pre)
        found = nearest(outputs, logits(model, known), classes)
    right = found == labels
    sums, counts = (np.bincount(owner, v, len(recordings)) for v in (right, np.ones(len(right))))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(recordings), size=(RESAMPLES, len(recordings)))
    resampled = sums[drawn].sum(axis=1) / np.maximum(1, counts[drawn].sum(axis=1))
    return Score(float(right.mean()), max(float(resampled.std()), _least_error(right)), len(right))


def _least_error(right: NDArray[np.bool_]) -> float:
    """By the rule of succession: that all windows were right does not mean that all will be."""
    share = (right.sum() + 1) / (len(right) + 2)
    return float((share * (1 - share) / len(right)) ** 0.5)
