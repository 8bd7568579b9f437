"""Augmented windows: the same by the same seed, inside their recording, turned as one body."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import PRE, recordings

from stillhouse.compress.recordings import Recordings
from stillhouse.compress.sampler import WindowSampler, random_rotations, rotated
from stillhouse.errors import Invalid

SOME = recordings(0)


def sampler(
    seed: int, rotation: float = 0, warp: float = 0, of: Recordings = SOME
) -> WindowSampler:
    return WindowSampler(of, PRE, np.random.default_rng(seed), rotation, warp)


def test_the_same_seed_gives_the_same_windows() -> None:
    one, two = sampler(3, 0.3, 0.1).draw(9), sampler(3, 0.3, 0.1).draw(9)
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert one[0].shape == (9, 3, 16)
    assert one[0].dtype == np.float32


@pytest.mark.parametrize("warp", [0.0, 0.5])
@pytest.mark.parametrize("length", [17, 18, 96])
@given(seed=st.integers(0, 1000))
def test_a_window_stays_inside_its_recording(seed: int, length: int, warp: float) -> None:
    many = recordings(0, length=length)
    marks = np.repeat(np.arange(6), length)
    marked = Recordings(
        np.stack([marks, marks, marks], axis=1).astype(np.float32),
        *(many.spans, np.arange(6), many.sources),
    )
    x, labels = sampler(seed, warp=warp, of=marked).draw(8)
    np.testing.assert_allclose(x[:, 0], np.repeat(labels[:, None], 16, 1), rtol=1e-6)


def test_without_augmentation_a_window_is_a_piece_of_a_recording() -> None:
    pieces = {w.tobytes() for w in SOME.windows(PRE.model_copy(update={"step": 1}))[0]}
    assert all(w.tobytes() in pieces for w in sampler(1).draw(20)[0])


def test_recordings_are_drawn_as_often_as_they_are_long() -> None:
    long = Recordings(
        SOME.samples, np.array([[0, 288], [288, 384]]), SOME.labels[:2], SOME.sources[:2]
    )
    labels = sampler(1, of=long).draw(4000)[1]
    assert np.mean(labels == 0) == pytest.approx(0.75, abs=0.03)


def test_rotations_are_orthogonal() -> None:
    turns = random_rotations(50, 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (50, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-5)


def test_a_rotation_keeps_the_physical_length_of_a_vector() -> None:
    x = SOME.windows(PRE)[0]
    turned = rotated(x, PRE, np.random.default_rng(0), 0.5)

    def length(v: np.ndarray) -> np.ndarray:
        return np.linalg.norm(v * [[1], [1], [2]] + [[0], [0], [0.5]], axis=1)

    assert not np.allclose(turned, x, atol=0.1)
    np.testing.assert_allclose(length(turned), length(x), atol=1e-4)


def test_recordings_without_a_window_are_refused() -> None:
    with pytest.raises(Invalid):
        sampler(0, of=recordings(0, length=15))
