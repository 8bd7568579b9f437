"""Recordings of sensors over time, their Parquet form, and the windows that a network sees.

Overlapping windows of one recording never stand on two sides of a split: what is split, stored and
weighed is always whole spans, each with a source (a person). numpy and pyarrow, no torch.
"""

import io
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
MAX_VALUES = 1 << 26  # samples x axes of one artefact: 256 MiB as float32
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
        """All windows in order: x [n, axes, window] standardised, labels [n], recordings [n].

        Raises Invalid if there is none.
        """
        starts = [np.arange(a, b - pre.window + 1, pre.step) for a, b in self.spans]
        owner = np.repeat(np.arange(len(self)), [len(s) for s in starts])
        if not len(owner):
            raise Invalid("no recording is as long as a window")
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
        if not np.isfinite(samples).all():
            raise Invalid("a sample that is not a number")
        spans = _spans(owner, source, label)
        return cls(samples, spans, label[spans[:, 0]], source[spans[:, 0]])


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


def _spans(owner: Integers, source: Integers, label: Integers) -> Integers:
    """Start and stop of each recording; Invalid unless in order, of one source and one label."""
    cuts = np.flatnonzero(np.diff(owner)) + 1
    starts, stops = np.append(0, cuts), np.append(cuts, len(owner))
    if not np.array_equal(owner[starts], np.arange(len(starts))):
        raise Invalid("recordings are not numbered in order")
    for column in (source, label):
        if not np.array_equal(column, np.repeat(column[starts], stops - starts)):
            raise Invalid("a recording with two sources or labels")
    if label.min() < UNLABELLED or label.max() >= 1 << 16:
        raise Invalid("a label out of range")
    return np.stack([starts, stops], axis=1)


def standardise(x: Floats, pre: Preprocessing) -> Floats:
    """Physical [n, axes, window] to what the network sees."""
    mean, deviation = (np.array(v, np.float32)[:, None] for v in (pre.mean, pre.deviation))
    return np.ascontiguousarray((x - mean) / deviation, np.float32)
