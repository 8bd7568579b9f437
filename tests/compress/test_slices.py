"""Weights chunks: every prefix runs, slices nest byte for byte, and no other bytes are accepted."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import ARCHITECTURE, GRID, family, step, student

from stillhouse.chunks import path, weights_chunks
from stillhouse.compress.slices import assemble, weights_chunk
from stillhouse.entities import ArchitectureSpec
from stillhouse.errors import VerificationFailed

SMALL, WIDE, DEEP = student(0.5, 1, 1), student(1, 1, 1), student(1, 2, 1)


def chunks(target) -> list[bytes]:
    return [weights_chunk(family(), recipe) for recipe in weights_chunks(GRID.students(), target)]


@pytest.mark.parametrize("target", GRID.students(), ids=str)
def test_every_prefix_of_a_path_is_the_student_of_the_family(target) -> None:
    payloads = chunks(target)
    for count, reached in enumerate(path(GRID.students(), target), 1):
        arrays = assemble(ARCHITECTURE, payloads[:count])
        assert arrays.student == reached
        expected = family().weights(reached) | dict(family().statistics[reached])
        state = arrays.state()
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(state[name], value)


def test_a_slice_may_skip_steps_of_the_path() -> None:
    one = assemble(ARCHITECTURE, [weights_chunk(family(), step(None, DEEP))])
    two = assemble(
        ARCHITECTURE,
        [weights_chunk(family(), step(None, SMALL)), weights_chunk(family(), step(SMALL, DEEP))],
    )
    for name, codes in one.codes.items():
        np.testing.assert_array_equal(codes, two.codes[name])


def test_codes_of_four_bits_are_the_high_nibbles_of_those_of_eight() -> None:
    fine, coarse = (assemble(ARCHITECTURE, chunks(student(1, 2, 2, bits))) for bits in (8, 4))
    for name, codes in fine.codes.items():
        np.testing.assert_array_equal(codes >> 4, coarse.codes[name])


def test_a_larger_student_changes_no_code_of_a_smaller_one() -> None:
    small, large = (assemble(ARCHITECTURE, chunks(target)) for target in (SMALL, student(1, 2, 2)))
    for name, codes in small.codes.items():
        np.testing.assert_array_equal(codes, large.codes[name][tuple(map(slice, codes.shape))])


GOOD = chunks(WIDE)


def refused(*payloads: bytes) -> None:
    with pytest.raises(VerificationFailed):
        assemble(ARCHITECTURE, payloads)


def test_chunks_out_of_order_are_refused() -> None:
    refused()
    refused(GOOD[1])
    refused(GOOD[1], GOOD[0])
    refused(GOOD[0], GOOD[0])
    refused(GOOD[0], chunks(student(1, 1, 1, 4))[1])


def test_chunks_of_another_architecture_are_refused() -> None:
    with pytest.raises(VerificationFailed):
        assemble(ArchitectureSpec(id="resnet1d", kwargs={}), GOOD)
    with pytest.raises(VerificationFailed):
        assemble(ArchitectureSpec(id="resnet9d", kwargs={}), GOOD)


@given(cut=st.integers(0, len(GOOD[0]) - 1), more=st.binary(min_size=1, max_size=9))
def test_a_chunk_of_another_length_is_refused(cut: int, more: bytes) -> None:
    refused(GOOD[0][:cut])
    refused(GOOD[0] + more)


@given(data=st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    refused(data)
    refused(b"SHW1" + data)


def test_values_that_are_not_numbers_are_refused() -> None:
    refused(GOOD[0][:-4] + b"\0\0\xc0\x7f")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"0.5", b"0.1"),
        (b"[1,1]", b"[9,9]"),
        (b"[1,1]", b"[1,0]"),
        (b":8", b":4"),
        (b"null", b"true"),
    ],
)
def test_a_header_that_contradicts_its_body_is_refused(old: bytes, new: bytes) -> None:
    assert old in GOOD[0]
    refused(GOOD[0].replace(old, new))


def test_a_variance_that_is_not_positive_is_refused() -> None:
    vector = family().statistics[SMALL]["stem.norm.running_var"].tobytes()
    assert GOOD[0].count(vector) == 1
    refused(GOOD[0].replace(vector, bytes(len(vector))))


def test_slicing_and_packing_do_not_load_torch() -> None:
    code = "import sys, stillhouse.compress.pack as p; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
