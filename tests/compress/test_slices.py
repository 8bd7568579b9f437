"""Weights chunks: every prefix runs, slices nest byte for byte, and no other bytes are accepted."""

import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import ARCHITECTURE, GRID, family, step, student

from stillhouse.chunks import weights_chunks
from stillhouse.compress.slices import assemble, own_bytes, recipe_bytes, weights_chunk
from stillhouse.entities import ArchitectureSpec, Student, WeightsRecipe
from stillhouse.errors import VerificationFailed

SMALL, WIDE, DEEP = student(0.5, 1, 1), student(1, 1, 1), student(1, 2, 1)
HEAD = 1 + 4 + 2 * (8 + 1 + 2) + 1  # magic, stages, base and student, count of widths


def recipes(target: Student) -> list[WeightsRecipe]:
    found = weights_chunks(family().table, target)
    return [recipe for recipe in found if isinstance(recipe, WeightsRecipe)]


def chain(*students: Student) -> list[bytes]:
    """Chunks through these students."""
    pairs = zip((None, *students), students, strict=False)
    return [weights_chunk(family(), step(base, each)) for base, each in pairs]


def chunks(target: Student) -> list[bytes]:
    return [weights_chunk(family(), recipe) for recipe in recipes(target)]


def same(arrays, reached: Student) -> None:
    expected = family().weights(reached) | dict(family().statistics[reached])
    state = arrays.state()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value)


@pytest.mark.parametrize("target", GRID.students(), ids=str)
def test_every_prefix_of_a_path_is_the_student_of_the_family(target: Student) -> None:
    payloads = chunks(target)
    for count, recipe in enumerate(recipes(target), 1):
        arrays = assemble(ARCHITECTURE, payloads[:count])
        assert arrays.student == recipe.student
        same(arrays, recipe.student)


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_a_slice_may_skip_steps_of_the_path(bits: int) -> None:
    small, deep = student(0.5, 1, 1, bits), student(1, 2, 1, bits)
    one, two = (assemble(ARCHITECTURE, chain(*steps)) for steps in ((deep,), (small, deep)))
    same(one, deep)
    same(two, deep)


def test_the_next_planes_make_eight_bits_of_four() -> None:
    points = (student(0.5, 1, 1, 4), student(1, 2, 1, 4), student(1, 2, 1, 8), student(1, 2, 2, 8))
    payloads = chain(*points)
    for count, point in enumerate(points, 1):
        same(assemble(ARCHITECTURE, payloads[:count]), point)
    codes = sum(code.size for code in assemble(ARCHITECTURE, payloads[:3]).codes.values())
    assert len(payloads[2]) == (codes + 1) // 2 + own_bytes(ARCHITECTURE, points[2])


def test_codes_of_four_bits_are_the_high_nibbles_of_those_of_eight() -> None:
    fine, coarse = (assemble(ARCHITECTURE, chunks(student(1, 2, 2, bits))) for bits in (8, 4))
    for name, codes in fine.codes.items():
        np.testing.assert_array_equal(codes >> 4, coarse.codes[name])


def test_a_larger_student_changes_no_code_of_a_smaller_one() -> None:
    small, large = (assemble(ARCHITECTURE, chain(target)) for target in (SMALL, student(1, 2, 2)))
    for name, codes in small.codes.items():
        np.testing.assert_array_equal(codes, large.codes[name][tuple(map(slice, codes.shape))])


@pytest.mark.parametrize("target", GRID.students(), ids=str)
def test_the_bytes_of_a_chunk_are_known_before_it_is_built(target: Student) -> None:
    for recipe in (*recipes(target), step(None, target)):
        chunk = weights_chunk(family(), recipe)
        assert recipe_bytes(ARCHITECTURE, GRID.widths, recipe) == len(chunk)


GOOD = chain(SMALL, WIDE)
ARRAYS = st.sampled_from(
    [chain(student(0.5, 1, 1, bits), student(1, 2, 1, bits)) for bits in (4, 32)]
)


def refused(*payloads: bytes) -> None:
    with pytest.raises(VerificationFailed):
        assemble(ARCHITECTURE, payloads)


def test_chunks_out_of_order_are_refused() -> None:
    refused()
    refused(GOOD[1])
    refused(GOOD[1], GOOD[0])
    refused(GOOD[0], GOOD[0])
    refused(GOOD[0], chain(student(0.5, 1, 1, 4), student(1, 1, 1, 4))[1])
    refused(*GOOD, chain(DEEP, student(1, 2, 2))[1])


def test_other_bits_in_another_shape_are_refused() -> None:
    refused(*chain(student(0.5, 1, 1, 4), WIDE))
    refused(*chain(student(0.5, 1, 1, 8), student(0.5, 1, 1, 32)))


def test_a_student_that_shrinks_is_refused() -> None:
    smaller = struct.pack("<dBBB", 1, 8, 1, 1), struct.pack("<dBBB", 0.5, 8, 1, 1)
    refused(chain(WIDE)[0], GOOD[0].replace(bytes(11) + smaller[1], b"".join(smaller)))


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
    refused(b"SHW2" + data)


@given(
    payloads=ARRAYS,
    at=st.integers(0, 10**6),
    which=st.integers(0, 1),
    byte=st.binary(min_size=1, max_size=1),
)
def test_a_changed_byte_makes_another_student_or_is_refused(payloads, at, which, byte) -> None:
    """Digests keep such chunks away; whoever gets one in spite of them raises nothing else."""
    chunk = payloads[which]
    at %= len(chunk)
    changed = list(payloads)
    changed[which] = chunk[:at] + byte + chunk[at + 1 :]
    try:
        state = assemble(ARCHITECTURE, changed).state()
    except VerificationFailed:
        return
    assert all(np.isfinite(array).all() for array in state.values())


@pytest.mark.parametrize("bits", [8, 32])
def test_values_that_are_not_numbers_are_refused(bits: int) -> None:
    good = chain(student(0.5, 1, 1, bits))[0]
    not_a_number = b"\0\x7e" if bits == 8 else b"\0\0\xc0\x7f"
    refused(good[: -len(not_a_number)] + not_a_number)


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (4, b"\1"),  # stages
        (HEAD - 12, struct.pack("<d", 0.1)),  # the student's width
        (HEAD - 12, struct.pack("<d", float("nan"))),
        (HEAD - 4, b"\4"),  # bits
        (HEAD - 4, b"\5"),
        (HEAD - 3, b"\x09"),  # depths
        (HEAD - 2, b"\0"),
        (HEAD - 1, b"\0"),  # widths
        (HEAD, struct.pack("<d", -1)),
        (5, b"\1"),  # a base
    ],
)
def test_a_head_that_contradicts_its_body_is_refused(at: int, new: bytes) -> None:
    refused(GOOD[0][:at] + new + GOOD[0][at + len(new) :])


def test_a_head_of_a_vast_student_is_refused_before_anything_is_allocated() -> None:
    """The architecture bounds what a head can claim, and the body's length is checked first."""
    vast = ArchitectureSpec(id="resnet1d", kwargs={"channels1": 4096, "channels2": 4096})
    with pytest.raises(VerificationFailed, match="length"):
        assemble(vast, GOOD[:1])


def test_slicing_and_packing_do_not_load_torch() -> None:
    code = "import sys, stillhouse.compress.pack as p; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
