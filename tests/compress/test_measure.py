"""Costs of a network worked out by hand, and errors over people."""

import math

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURE, PRE, recordings
from torch import nn

from stillhouse.compress.arch import build
from stillhouse.compress.groups import train_last
from stillhouse.compress.measure import (
    PeakMemory,
    activation_bytes,
    error_over,
    evaluate,
    nearest,
    operations,
    similarity,
    training_bytes,
)
from stillhouse.entities import TRAINABLE
from stillhouse.errors import Invalid


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
    small, large = (training_bytes(model, (3, 16), batch, 1.0) for batch in (8, 16))
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


def test_fewer_blocks_that_train_take_less_memory() -> None:
    peaks = [training_bytes(build(ARCHITECTURE), (3, 16), 16, share) for share in TRAINABLE]
    assert peaks == sorted(set(peaks))


def test_after_measuring_everything_trains_again() -> None:
    model = build(ARCHITECTURE)
    training_bytes(model, (3, 16), 8, 0.0)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_head_always_trains_and_the_last_blocks_first(share: float) -> None:
    model = build(ARCHITECTURE)
    trained = {id(parameter) for parameter in train_last(model, share)}
    ladder = [id(next(rung.parameters())) in trained for rung in model.ladder()]
    assert sum(ladder) == math.ceil(share * len(ladder))
    assert ladder == sorted(ladder)
    assert id(model.head.weight) in trained


def test_an_embedding_is_right_where_its_nearest_centroid_is() -> None:
    support = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    features = np.array([[2, 0.1], [0.1, 3]], np.float32)
    assert nearest(features, support, np.array([3, 3, 1])).tolist() == [3, 1]
    with pytest.raises(Invalid):
        nearest(features, support[:0], np.empty(0, np.int64))


def test_similarity_is_one_with_oneself_and_less_with_others() -> None:
    one, other = np.random.default_rng(0).standard_normal((2, 50, 4)).astype(np.float32)
    for embeds in (True, False):
        assert similarity(one, one, embeds=embeds) == pytest.approx(1)
        assert similarity(other, one, embeds=embeds) < 0.7
