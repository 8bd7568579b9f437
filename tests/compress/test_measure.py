"""Costs of a network worked out by hand, and errors over people."""

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURE, PRE, recordings
from torch import nn

from stillhouse.compress.arch import build
from stillhouse.compress.measure import (
    PeakMemory,
    activation_bytes,
    error_over,
    evaluate,
    operations,
    training_bytes,
)


def test_operations_count_every_weighted_layer() -> None:
    model = nn.Sequential(nn.Conv1d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    cost = operations(model, (3, 16))
    assert cost.layers == 2
    assert cost.macs == 8 * 4 * 3 * 3 + 32 * 2


def test_peak_memory_forgets_what_is_freed() -> None:
    memory = PeakMemory()
    with memory:
        for _ in range(3):
            torch.zeros(1000) + 1
    assert memory.peak_bytes == 8000


def test_activations_are_what_lives_at_once() -> None:
    chain = nn.Sequential(*(nn.Linear(10, 10, bias=False) for _ in range(5)))
    assert activation_bytes(chain, (10,)) == 40 + 2 * 40


def test_training_takes_the_batch_and_three_copies_of_the_weights() -> None:
    model = build(ARCHITECTURE)
    weights = sum(p.nbytes for p in model.parameters())
    small, large = (training_bytes(model, (3, 16), batch) for batch in (8, 16))
    assert small > 3 * weights
    assert large > small
    assert all(p.grad is None for p in model.parameters())


def test_the_error_of_an_accuracy_is_over_people() -> None:
    right = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    assert error_over(right, np.repeat([0, 1], 4)) == pytest.approx(0.5 / 2**0.5 * 2**0.5)
    assert error_over(right, np.tile([0, 1], 4)) == 0


def test_one_person_has_the_error_of_their_windows() -> None:
    assert error_over(np.array([True, False]), np.zeros(2, np.int64)) == pytest.approx(0.5)


def test_an_evaluation_counts_windows() -> None:
    score = evaluate(build(ARCHITECTURE), recordings(0), PRE)
    assert score.samples == 66
    assert 0 <= score.accuracy <= 1
