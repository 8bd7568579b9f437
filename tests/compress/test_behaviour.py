"""Behaviour chunks: about two bytes a window, close to the central model's own soft targets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import family

from stillhouse.compress.behaviour import Behaviour, behaviour_chunk
from stillhouse.entities import BehaviourRecipe
from stillhouse.errors import Invalid, VerificationFailed

RECIPE = BehaviourRecipe(top_k=2, first=0, count=20)
GOOD = behaviour_chunk(family(), RECIPE)
HEAD = 20


def soft(logits: np.ndarray, temperature: float) -> np.ndarray:
    weights = np.exp(logits / temperature)
    return weights / weights.sum(axis=1, keepdims=True)


def with_logits(classes: int, count: int = 300):
    logits = np.random.default_rng(0).standard_normal((count, classes)).astype(np.float32) * 2
    return replace(family(), logits=logits)


def test_top_two_of_few_classes_cost_two_bytes_a_window() -> None:
    assert len(GOOD) == HEAD + 2 * RECIPE.count


def test_a_chunk_covers_the_windows_of_its_recipe() -> None:
    some = Behaviour.from_bytes(
        behaviour_chunk(family(), BehaviourRecipe(top_k=1, first=5, count=3))
    )
    assert (some.first, len(some)) == (5, 3)
    np.testing.assert_array_equal(some.indices[:, 0], family().logits[5:8].argmax(axis=1))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_soft_targets_of_all_classes_are_nearly_the_central_models(temperature: float) -> None:
    """With three classes top-2 and the rest say everything but the quantisation."""
    targets = Behaviour.from_bytes(GOOD).soft_targets(temperature)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(targets, soft(family().logits, temperature), atol=0.08)


@pytest.mark.parametrize("classes", [2, 7, 16, 17, 300])
def test_the_likeliest_class_stays_the_likeliest(classes: int) -> None:
    source = with_logits(classes)
    chunk = behaviour_chunk(source, BehaviourRecipe(top_k=2, first=0, count=300))
    read = Behaviour.from_bytes(chunk)
    targets = read.soft_targets(1.0)
    np.testing.assert_array_equal(read.indices[:, 0], source.logits.argmax(axis=1))
    assert (targets[np.arange(300), read.indices[:, 0]] >= targets.max(axis=1) - 1e-6).all()
    np.testing.assert_allclose(
        np.exp(read.log_probabilities()), np.take_along_axis(targets, read.indices, 1), rtol=1e-4
    )


def test_windows_and_classes_that_do_not_exist_are_refused() -> None:
    for recipe in (
        BehaviourRecipe(top_k=2, first=15, count=6),
        BehaviourRecipe(top_k=4, first=0, count=1),
    ):
        with pytest.raises(Invalid):
            behaviour_chunk(family(), recipe)


@given(data=st.binary(max_size=60), cut=st.integers(0, len(GOOD) - 1))
def test_malformed_bytes_are_refused(data: bytes, cut: int) -> None:
    for bad in (data, b"SHB1" + data, GOOD[:cut], GOOD + b"\0"):
        with pytest.raises(VerificationFailed):
            Behaviour.from_bytes(bad)


def test_a_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(VerificationFailed):
        Behaviour.from_bytes(GOOD[:HEAD] + b"\xff" + GOOD[HEAD + 1 :])
