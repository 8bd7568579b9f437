"""Behaviour chunks: about two bytes a window, close to the central model's own soft targets."""

import struct
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
HEAD = 14 + 4


def soft(logits: np.ndarray, temperature: float) -> np.ndarray:
    weights = np.exp(logits / temperature)
    return weights / weights.sum(axis=1, keepdims=True)


def with_logits(classes: int, count: int = 300):
    logits = np.random.default_rng(0).standard_normal((count, classes)).astype(np.float32) * 2
    return replace(family(), logits=logits)


def test_top_two_of_ten_classes_cost_less_than_two_bytes_a_window() -> None:
    chunk = behaviour_chunk(with_logits(10), BehaviourRecipe(top_k=2, first=0, count=250))
    assert len(chunk) == HEAD + (int(500 * np.log2(10)) + 8) // 8 + 250


def test_batches_are_joined_in_the_order_of_their_windows() -> None:
    batches = [
        behaviour_chunk(family(), BehaviourRecipe(top_k=2, first=first, count=count))
        for first, count in ((12, 8), (0, 5), (5, 7))
    ]
    joined, whole = Behaviour.joined(batches), family().logits.argmax(axis=1)
    assert (joined.first, len(joined), joined.outputs) == (0, 20, 3)
    np.testing.assert_array_equal(joined.indices[:, 0], whole)
    assert joined.features is None
    with pytest.raises(VerificationFailed):
        Behaviour.joined(batches[:2])
    with pytest.raises(VerificationFailed):
        Behaviour.joined([batches[0], features_chunk(0, 12)])
    with pytest.raises(VerificationFailed):
        Behaviour.joined([])


def features_chunk(first: int, count: int, spread: float = 1.0) -> bytes:
    return behaviour_chunk(
        with_features(spread), BehaviourRecipe(layer="features", top_k=0, first=first, count=count)
    )


def with_features(spread: float, dims: int = 384):
    rng = np.random.default_rng(1)
    features = rng.standard_normal((40, dims)).astype(np.float32)
    features[:, 0] *= spread
    return replace(family(), logits=features / np.linalg.norm(features, axis=1, keepdims=True))


@pytest.mark.parametrize(("spread", "bits"), [(1.0, 4), (300.0, 8)])
def test_features_keep_their_direction_in_as_few_bits_as_they_can(spread: float, bits: int) -> None:
    """One feature far above the others takes the whole range of 4 bits."""
    chunk = features_chunk(8, 20, spread)
    assert len(chunk) == 14 + 20 * (4 + 384 * bits // 8)
    read, wanted = Behaviour.from_bytes(chunk), with_features(spread).logits[8:28]
    assert (read.first, len(read), read.outputs) == (8, 20, 384)
    assert read.features is not None
    lengths = np.linalg.norm(read.features, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((read.features * wanted).sum(axis=1) / lengths > 0.99).all()


def test_features_of_several_batches_are_joined() -> None:
    joined = Behaviour.joined([features_chunk(20, 20), features_chunk(0, 20)])
    assert joined.features is not None
    assert joined.features.shape == (40, 384)
    np.testing.assert_allclose(joined.features, with_features(1.0).logits, atol=0.1)


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
        BehaviourRecipe(top_k=0, first=0, count=1),
        BehaviourRecipe(layer="features", top_k=1, first=0, count=1),
    ):
        with pytest.raises(Invalid):
            behaviour_chunk(family(), recipe)


@given(data=st.binary(max_size=60), cut=st.integers(0, len(GOOD) - 1))
def test_malformed_bytes_are_refused(data: bytes, cut: int) -> None:
    for bad in (data, b"SHB2" + data, GOOD[:cut], GOOD + b"\0"):
        with pytest.raises(VerificationFailed):
            Behaviour.from_bytes(bad)


@given(
    good=st.sampled_from([GOOD, features_chunk(0, 3), features_chunk(0, 3, 300)]),
    at=st.integers(0, 10**6),
    byte=st.binary(min_size=1, max_size=1),
)
def test_a_changed_byte_is_refused_or_says_something_finite(good, at: int, byte: bytes) -> None:
    at %= len(good)
    try:
        read = Behaviour.from_bytes(good[:at] + byte + good[at + 1 :])
    except VerificationFailed:
        return
    said = read.soft_targets(2.0) if read.features is None else read.features
    assert np.isfinite(said).all()
    assert read.features is not None or (said > 0).all()


def test_a_class_that_does_not_exist_is_refused() -> None:
    """The number of all classes is too large for so many windows."""
    size = (int(40 * np.log2(3)) + 8) // 8
    with pytest.raises(VerificationFailed):
        Behaviour.from_bytes(GOOD[:HEAD] + b"\xff" * size + GOOD[HEAD + size :])


def test_more_classes_than_a_chunk_may_name_are_refused_before_they_are_read() -> None:
    head = struct.pack("<4sIHHBB", b"SHB2", 0, 0xFFFF, 1, 2, 4)
    body = struct.pack("<f", 1) + bytes((0xFFFF * 2 + 8) // 8 + 0xFFFF)
    with pytest.raises(VerificationFailed):
        Behaviour.from_bytes(head + body)
