"""Deltas: the very chunk of the updated family, for a fraction of its bytes, and from no other."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ARCHITECTURE, GRID, family, step, student, updated

from stillhouse.compress.deltas import HEAD, apply_delta, make_delta
from stillhouse.compress.slices import chunk_layout, weights_chunk
from stillhouse.entities import WeightsRecipe
from stillhouse.errors import Invalid, VerificationFailed

RECIPES = [
    step(None, student(1, 2, 2, 4)),
    step(None, student(0.5, 1, 1, 8)),
    step(student(0.5, 1, 1, 8), student(1, 2, 1, 8)),
    step(student(1, 2, 2, 4), student(1, 2, 2, 8)),
    step(None, student(1, 1, 1, 32)),
]


NEW = updated()


def delta(recipe: WeightsRecipe) -> tuple[bytes, bytes, bytes]:
    """Old chunk, new chunk, and what leads from one to the other."""
    old, new = weights_chunk(family(), recipe), weights_chunk(NEW, recipe)
    return old, new, make_delta(old, new, chunk_layout(ARCHITECTURE, GRID.widths, recipe))


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_delta_makes_the_very_chunk_of_the_new_family(recipe: WeightsRecipe) -> None:
    old, new, payload = delta(recipe)
    assert old != new
    assert apply_delta(old, payload) == new


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_moved_a_little_cost_a_little(bits: int) -> None:
    old, _, payload = delta(step(None, student(1, 2, 2, bits)))
    assert len(payload) < 0.55 * len(old)  # a tenth of these few bytes are heads


def test_what_did_not_change_costs_a_head() -> None:
    recipe = RECIPES[0]
    old = weights_chunk(family(), recipe)
    payload = make_delta(old, old, chunk_layout(ARCHITECTURE, GRID.widths, recipe))
    assert apply_delta(old, payload) == old
    assert len(payload) < 0.15 * len(old)


def test_chunks_of_different_recipes_have_no_delta() -> None:
    one, other = (weights_chunk(family(), recipe) for recipe in RECIPES[:2])
    with pytest.raises(Invalid):
        make_delta(one, other, chunk_layout(ARCHITECTURE, GRID.widths, RECIPES[0]))


GOOD = [delta(recipe) for recipe in RECIPES]


@given(which=st.sampled_from(GOOD), data=st.binary(max_size=100), cut=st.integers(0, 10**6))
def test_malformed_deltas_are_refused(which, data: bytes, cut: int) -> None:
    old, _, payload = which
    for bad in (data, b"SHD1" + data, payload[: cut % len(payload)], payload + b"\0"):
        with pytest.raises(VerificationFailed):
            apply_delta(old, bad)
    with pytest.raises(VerificationFailed):
        apply_delta(old[:-1], payload)


@settings(max_examples=200)
@given(
    which=st.sampled_from(GOOD), at=st.integers(0, 10**6), byte=st.binary(min_size=1, max_size=1)
)
def test_a_changed_byte_never_makes_a_longer_chunk(which, at: int, byte: bytes) -> None:
    old, _, payload = which
    at %= len(payload)
    try:
        made = apply_delta(old, payload[:at] + byte + payload[at + 1 :])
    except VerificationFailed:
        return
    assert len(made) == len(old)


def test_a_stretch_is_never_decompressed_beyond_its_length() -> None:
    """A bomb: more zeros than the old chunk has codes."""
    recipe = RECIPES[0]
    old, layout = weights_chunk(family(), recipe), chunk_layout(ARCHITECTURE, GRID.widths, recipe)
    sizes = (layout.head, *layout.streams)
    much = bytes(10**6)
    bomb = make_delta(
        old[: layout.head] + much,
        old[: layout.head] + much,
        replace(layout, streams=(10**6, 0, 0, 0)),
    )
    with pytest.raises(VerificationFailed):
        apply_delta(old, HEAD.pack(b"SHD1", 4, *sizes) + bomb[HEAD.size :])
