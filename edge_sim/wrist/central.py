"""Trains the demo's central model: SGD on windows seen from randomly turned sensors (WRIST)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stillhouse.compress.arch import build
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.residual import ResNet
from stillhouse.compress.sampler import WindowSampler
from stillhouse.entities import ArchitectureSpec, Preprocessing

BATCH = 64
EPOCHS = 20
LEARNING_RATE = 0.1
DROPOUT = 0.2


def train_central(
    architecture: ArchitectureSpec,
    recordings: Recordings,
    pre: Preprocessing,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
    epochs: int = EPOCHS,
) -> ResNet:
    """The trained model, ready to evaluate; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = build(architecture)
        assert isinstance(model, ResNet)  # noqa: S101  an encoder is not trained here
        model.dropout.p = DROPOUT
        sampler = WindowSampler(recordings, pre, np.random.default_rng(seed), pre.rotation_sd_rad)
        steps = epochs * (len(recordings.windows(pre)[1]) // BATCH)
        _fit(model.train(), sampler, steps, progress)
    model.dropout.p = 0.0
    return model.eval()


def _fit(
    model: nn.Module, sampler: WindowSampler, steps: int, progress: Callable[[float], None]
) -> None:
    optimiser = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, 0.9, weight_decay=1e-3, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps + 1)
    for step in range(steps):
        x, labels = map(torch.from_numpy, sampler.draw(BATCH))
        loss = F.cross_entropy(model(x), labels, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        progress((step + 1) / steps)
