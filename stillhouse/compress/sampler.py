"""Augmented windows for training: random starts, turned sensors, time played faster or slower.

The same generator gives the same windows. numpy alone: it is as fast as torch at these sizes.
"""

import numpy as np

from stillhouse.compress.quantize import Floats
from stillhouse.compress.recordings import Integers, Recordings, standardise
from stillhouse.entities import Preprocessing
from stillhouse.errors import Invalid


def rotated(x: Floats, pre: Preprocessing, rng: np.random.Generator, sd_rad: float) -> Floats:
    """Standardised windows seen from a sensor that sits a little differently.

    One rotation a window about a random axis, its angle ~ N(0, sd_rad), in physical units and the
    same for all vectors: a wrong mounting turns accelerometer and gyroscope together.
    """
    if sd_rad == 0 or not pre.vectors:
        return x
    mean, deviation = (np.array(v, np.float32)[:, None] for v in (pre.mean, pre.deviation))
    turned = x * deviation + mean
    turn = random_rotations(len(x), sd_rad, rng)
    for vector in pre.vectors:
        axes = list(vector.axes)
        turned[:, axes] = turn @ turned[:, axes]
    seen: Floats = (turned - mean) / deviation
    return seen


def random_rotations(count: int, sd_rad: float, rng: np.random.Generator) -> Floats:
    """[count, 3, 3] by Rodrigues' formula: uniform axis, angle ~ N(0, sd_rad)."""
    axis = rng.standard_normal((count, 3), np.float32)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = (rng.standard_normal(count, np.float32) * np.float32(sd_rad))[:, None, None]
    k = np.zeros((count, 3, 3), np.float32)
    k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    k -= k.transpose(0, 2, 1)
    eye = np.eye(3, dtype=np.float32)
    turns: Floats = eye + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)
    return turns


class WindowSampler:
    """Augmented windows at random starts, a recording as often as it is long.

    `time_warp` w plays a window faster or slower by up to exp(w). Same seed, same windows.
    Recordings shorter than a window are left out; Invalid if none is left.
    """

    def __init__(
        self,
        recordings: Recordings,
        pre: Preprocessing,
        rng: np.random.Generator,
        rotation_sd_rad: float,
        time_warp: float = 0,
    ) -> None:
        self._recordings = recordings.select(recordings.lengths() >= pre.window)
        if not len(self._recordings):
            raise Invalid("no recording is as long as a window")
        self._ends = np.cumsum(self._recordings.lengths())
        self._pre, self._rng = pre, rng
        self._rotation_sd_rad, self._time_warp = rotation_sd_rad, time_warp

    def draw(self, count: int) -> tuple[Floats, Integers]:
        """x [count, axes, window] standardised, labels [count]."""
        chosen = np.searchsorted(
            self._ends, self._rng.integers(self._ends[-1], size=count), side="right"
        )
        start, stop = self._recordings.spans[chosen].T
        x = self._warped(start, stop) if self._time_warp else self._plain(start, stop)
        x = standardise(x.transpose(0, 2, 1), self._pre)
        return (
            rotated(x, self._pre, self._rng, self._rotation_sd_rad),
            self._recordings.labels[chosen],
        )

    def _plain(self, start: Integers, stop: Integers) -> Floats:
        first = self._rng.integers(start, stop - self._pre.window + 1)
        x: Floats = self._recordings.samples[first[:, None] + np.arange(self._pre.window)]
        return x

    def _warped(self, start: Integers, stop: Integers) -> Floats:
        """Linear interpolation between samples, never across the end of a recording."""
        last, span = stop - start - 1, self._pre.window - 1
        speed = np.exp(self._rng.uniform(-self._time_warp, self._time_warp, len(start)))
        speed = np.minimum(speed, last / span)
        first = self._rng.uniform(0, 1, len(start)) * (last - speed * span)
        at = first[:, None] + speed[:, None] * np.arange(self._pre.window)
        low = np.minimum(at.astype(np.int64), last[:, None] - 1)
        share = (at - low).astype(np.float32)[:, :, None]
        index = start[:, None] + low
        samples = self._recordings.samples
        between: Floats = samples[index] * (1 - share) + samples[index + 1] * share
        return between
