"""The integer grid: bounded error, nested planes, packing that loses nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stillhouse.compress.quantize import (
    block_scales,
    decode,
    encode,
    high_planes,
    pack,
    packed_length,
    steps,
    unpack,
)

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
