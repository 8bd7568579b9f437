"""The integer grid: bounded error, nested planes, packing that loses nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stillhouse.compress.quantize import (
    LEVELS,
    block_scales,
    decode,
    encode,
    encode_near,
    halves,
    high_planes,
    level_codes,
    level_variances,
    near_scales,
    pack,
    packed_length,
    steps,
    unpack,
)
from stillhouse.errors import Invalid

EDGES = (2, 6)
weights = hnp.arrays(np.float32, (3, 6, 2), elements=st.floats(-100, 100, width=32))


@pytest.mark.parametrize("bits", [4, 8])
@given(weight=weights)
def test_a_weight_is_decoded_within_half_a_step(weight, bits) -> None:
    scales = block_scales(weight, EDGES)
    codes = high_planes(encode(weight, steps(scales, EDGES, 3, 8)), bits)
    step = steps(scales, EDGES, 3, bits)
    assert (np.abs(decode(codes, step, bits) - weight) <= step * np.float32(0.5001)).all()


@given(weight=weights)
def test_scales_are_levels_that_span_their_block_and_hardly_more(weight) -> None:
    scales = block_scales(weight, EDGES)
    np.testing.assert_array_equal(LEVELS[level_codes(scales)], scales)
    for block, scale in ((weight[:, :2], scales[:, 0]), (weight[:, 2:], scales[:, 1])):
        largest = np.abs(block).reshape(3, -1).max(axis=1) / np.float32(127.5)
        assert (largest <= scale).all()
        assert ((scale < largest * np.float32(1.073)) | (scale == LEVELS[0])).all()


def test_what_the_grid_cannot_say_is_refused() -> None:
    for weight in (1e5, np.nan, np.inf):
        with pytest.raises(Invalid):
            block_scales(np.full((1, 6, 1), weight, np.float32), EDGES)
    with pytest.raises(Invalid):
        level_codes(np.float32([0.123]))


@given(values=hnp.arrays(np.float32, 5, elements=st.floats(0, 2**15, width=32)))
def test_a_variance_stays_positive_and_near(values) -> None:
    near = level_variances(values)
    assert (near > 0).all()
    known = values > LEVELS[0] ** 2
    assert (np.abs(near - values)[known] <= 0.073 * values[known]).all()
    np.testing.assert_array_equal(level_variances(near), near)
    np.testing.assert_array_equal(LEVELS[level_codes(np.sqrt(near))] ** 2, near)


@given(values=hnp.arrays(np.float32, 5, elements=st.floats(-1e6, 1e6, width=32)))
def test_halves_are_float16_and_never_infinite(values) -> None:
    np.testing.assert_array_equal(
        halves(values).astype(np.float16).astype(np.float32), halves(values)
    )
    assert np.isfinite(halves(values)).all()


@given(
    weight=hnp.arrays(np.float32, (3, 6, 2), elements=st.floats(-2, 2, width=32)),
    held=hnp.arrays(np.uint8, (3, 6, 2)),
    tolerance=st.integers(0, 8),
)
def test_codes_near_the_held_ones_are_within_the_tolerance(weight, held, tolerance) -> None:
    step = steps(block_scales(weight, EDGES), EDGES, 3, 8)
    exact, near = (
        each.astype(int)
        for each in (encode(weight, step), encode_near(weight, step, held, tolerance))
    )
    assert (np.abs(near - exact) <= tolerance).all()
    still = np.abs(held.astype(int) - exact) <= tolerance
    np.testing.assert_array_equal(near[still], held[still])
    nibble = held.astype(int) & 0xF0
    reachable = (exact >= nibble - tolerance) & (exact <= nibble + 15 + tolerance)
    np.testing.assert_array_equal(near[reachable] >> 4, held[reachable] >> 4)


@given(weight=weights)
def test_scales_stay_unless_their_block_outgrew_them(weight) -> None:
    held = block_scales(weight, EDGES)
    np.testing.assert_array_equal(near_scales(weight * np.float32(0.5), EDGES, held, 4), held)
    grown = near_scales(weight * np.float32(2), EDGES, held, 4)
    np.testing.assert_array_equal(grown, block_scales(weight * np.float32(2), EDGES))


@given(weight=weights)
def test_a_block_does_not_depend_on_the_blocks_after_it(weight) -> None:
    narrow, wide = block_scales(weight[:, :2], (2,)), block_scales(weight, EDGES)
    np.testing.assert_array_equal(narrow, wide[:, :1])


@pytest.mark.parametrize("bits", [4, 8])
@given(data=st.data())
def test_packing_loses_nothing(data, bits) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=20))
    codes = np.array(values, np.uint8)
    packed = pack(codes, bits)
    assert len(packed) == packed_length(len(codes), bits)
    np.testing.assert_array_equal(unpack(packed, len(codes), bits), codes)
