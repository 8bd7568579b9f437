"""Recordings of sensors over time, their Parquet form, and the windows that a network sees.

Overlapping windows of one recording never stand on two sides of a split: what is split, stored and
weighed is always whole spans, each with a source (a person). numpy and pyarrow, no torch.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stillhouse.compress.quantize import Floats
from stillhouse.entities import Preprocessing
from stillhouse.errors import Invalid

Integers = NDArray[np.int64]

UNLABELLED = -1
MAX_AXES = 256
MAX_VALUES = 1 << 28  # samples x axes of one artefact: 1 GiB as float32
COLUMNS = ("recording", "source", "label")


@dataclass(frozen=True, slots=True)
class Recordings:
    """Spans of one table of samples.

    `samples` float32 [samples, axes] in physical units, `spans` [recordings, 2] (start, stop),
    `labels` and `sources` [recordings]; a label is UNLABELLED or a class.
    """

    samples: Floats
    spans: Integers
    labels: Integers
    sources: Integers

    def __len__(self) -> int:
        return len(self.spans)

    def lengths(self) -> Integers:
        return self.spans[:, 1] - self.spans[:, 0]

    def select(self, chosen: NDArray[np.bool_]) -> Self:
        """The recordings for which `chosen` is true; samples are shared."""
        return type(self)(
            self.samples, self.spans[chosen], self.labels[chosen], self.sources[chosen]
        )

    def unlabelled(self) -> Self:
        """The same without labels: what a transfer set is."""
        return type(self)(
            self.samples, self.spans, np.full_like(self.labels, UNLABELLED), self.sources
        )

    def windows(self, pre: Preprocessing) -> tuple[Floats, Integers, Integers]:
        """All windows in order: x [n, axes, window] standardised, labels [n], recordings [n]."""
        starts = [np.arange(a, b - pre.window + 1, pre.step) for a, b in self.spans]
        owner = np.repeat(np.arange(len(self)), [len(s) for s in starts])
        if not len(owner):
            empty = np.zeros((0, self.samples.shape[1], pre.window), np.float32)
            return empty, owner.astype(np.int64), owner.astype(np.int64)
        x = sliding_window_view(self.samples, pre.window, axis=0)[np.concatenate(starts)]
        return standardise(x, pre), self.labels[owner], owner

    def to_parquet(self) -> bytes:
        """One row a sample: recording, source, label, then a float column per axis."""
        rows = np.concatenate([np.arange(a, b) for a, b in self.spans])
        owner = np.repeat(np.arange(len(self), dtype=np.int32), self.lengths())
        columns = [owner, *(v[owner].astype(np.int32) for v in (self.sources, self.labels))]
        axes = self.samples[rows].T
        names = [*COLUMNS, *(f"axis{i}" for i in range(len(axes)))]
        sink = io.BytesIO()
        pq.write_table(pa.table([*columns, *axes], names=names), sink, compression="zstd")
        return sink.getvalue()

    @classmethod
    def from_parquet(cls, data: bytes) -> Self:
        """Raises Invalid for anything that `to_parquet` would not write, before it allocates."""
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            axes = _axes(file)
            table = file.read(use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Invalid(f"not a Parquet file of recordings: {error}") from None
        if any(column.null_count for column in table.columns):
            raise Invalid("recordings with missing values")
        owner, source, label = (table[name].to_numpy().astype(np.int64) for name in COLUMNS)
        samples = np.stack([table[f"axis{i}"].to_numpy() for i in range(axes)], axis=1)
        return _recordings(cls, samples, owner, source, label)


def _axes(file: pq.ParquetFile) -> int:
    """The number of axes, from the schema alone; Invalid if names, types or sizes are not ours."""
    schema = file.schema_arrow
    axes = len(schema) - len(COLUMNS)
    names = [*COLUMNS, *(f"axis{i}" for i in range(axes))]
    types = [*(pa.int32() for _ in COLUMNS), *(pa.float32() for _ in range(axes))]
    if not 1 <= axes <= MAX_AXES or schema.names != names or schema.types != types:
        raise Invalid("columns are not recording, source, label, axis0, ...")
    if not 1 <= file.metadata.num_rows * axes <= MAX_VALUES:
        raise Invalid(f"{file.metadata.num_rows} rows")
    return axes


def _recordings(
    cls: type[Recordings], samples: Floats, owner: Integers, source: Integers, label: Integers
) -> Recordings:
    cuts = np.flatnonzero(np.diff(owner)) + 1
    starts = np.append(0, cuts)
    if not np.array_equal(owner[starts], np.arange(len(starts))):
        raise Invalid("recordings are not numbered in order")
    if (np.delete(np.diff(source), cuts - 1) != 0).any() or (
        np.delete(np.diff(label), cuts - 1) != 0
    ).any():
        raise Invalid("a recording with two sources or labels")
    if label.min() < UNLABELLED or label.max() >= 1 << 16:
        raise Invalid("a label out of range")
    if not np.isfinite(samples).all():
        raise Invalid("a sample that is not a number")
    spans = np.stack([starts, np.append(cuts, len(owner))], axis=1)
    return cls(samples, spans, label[starts], source[starts])


def standardise(x: Floats, pre: Preprocessing) -> Floats:
    """Physical [n, axes, window] to what the network sees."""
    mean, deviation = (np.array(v, np.float32)[:, None] for v in (pre.mean, pre.deviation))
    return np.ascontiguousarray((x - mean) / deviation, np.float32)


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
    return (turned - mean) / deviation


def random_rotations(count: int, sd_rad: float, rng: np.random.Generator) -> Floats:
    """[count, 3, 3] by Rodrigues' formula: uniform axis, angle ~ N(0, sd_rad)."""
    axis = rng.standard_normal((count, 3), np.float32)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = (rng.standard_normal(count, np.float32) * np.float32(sd_rad))[:, None, None]
    k = np.zeros((count, 3, 3), np.float32)
    k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    k -= k.transpose(0, 2, 1)
    return np.eye(3, dtype=np.float32) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


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
        self._recordings = recordings.select(recordings.lengths() > pre.window)
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
        return self._recordings.samples[first[:, None] + np.arange(self._pre.window)]

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
        return samples[index] * (1 - share) + samples[index + 1] * share


def durations(recordings: Recordings, classes: Sequence[int]) -> Integers:
    """Samples of each class."""
    return np.array(
        [recordings.lengths()[recordings.labels == c].sum() for c in classes], np.int64
    )
