"""Behaviour chunks: what the central model says of the public windows, in about two bytes each.

For each window the k likeliest classes and by how much the log-odds of each exceed the mean of the
others, in 4 bits (top-2 in int4 teaches as well as all logits, ALGORITHMS D). Bytes: `SHB1`, then
little-endian u32 first, u32 count, u16 classes, u16 k, float32 step; packed classes (4 bits each up
to 16 classes, else u16), packed values. numpy alone.
"""

import struct
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stillhouse.compress.container import Family
from stillhouse.compress.quantize import Floats, pack, packed_length, unpack
from stillhouse.entities import BehaviourRecipe
from stillhouse.errors import Invalid, VerificationFailed

HEAD = struct.Struct("<4sIIHHf")
MAGIC = b"SHB1"
LEVELS = 15  # of a value's 4 bits


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Top-k behaviour on public windows [first, first + count).

    `indices` [count, k] are classes, likeliest first; `odds` float32 [count, k] are their logits,
    where every other class has zero.
    """

    first: int
    classes: int
    indices: NDArray[np.int64]
    odds: Floats

    def __len__(self) -> int:
        return len(self.indices)

    def soft_targets(self, temperature: float) -> Floats:
        """Probabilities [count, classes] at `temperature`; the others share the remaining mass."""
        logits = np.zeros((len(self), self.classes), np.float32)
        np.put_along_axis(logits, self.indices, self.odds, axis=1)
        weights = np.exp(logits / np.float32(temperature))
        shares: Floats = weights / weights.sum(axis=1, keepdims=True)
        return shares

    def log_probabilities(self) -> Floats:
        """Of `indices`, at temperature 1."""
        return np.log(np.take_along_axis(self.soft_targets(1), self.indices, axis=1))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises VerificationFailed for malformed bytes."""
        if len(data) < HEAD.size:
            raise VerificationFailed("a behaviour chunk ends in its head")
        magic, first, count, classes, k, step = HEAD.unpack_from(data)
        bits = _index_bits(classes)
        split = HEAD.size + packed_length(count * k, bits)
        whole = len(data) == split + packed_length(count * k, 4)
        if magic != MAGIC or not whole or not 1 <= k <= classes or not 0 < step < 1e6:
            raise VerificationFailed("malformed behaviour chunk")
        indices = _unpack_indices(data[HEAD.size : split], count * k, bits).reshape(count, k)
        if (indices >= classes).any():
            raise VerificationFailed("a behaviour chunk names a class that does not exist")
        odds = unpack(data[split:], count * k, 4).reshape(count, k) * np.float32(step)
        return cls(first, classes, indices, odds)


def behaviour_chunk(family: Family, recipe: BehaviourRecipe) -> bytes:
    """The chunk of `recipe`; the same bytes on every machine. Invalid beyond the public windows."""
    count, classes = family.logits.shape
    if recipe.first + recipe.count > count or recipe.top_k > classes:
        raise Invalid(f"{count} public windows and {classes} classes, not {recipe}")
    logits = family.logits[recipe.first : recipe.first + recipe.count]
    indices = np.argsort(-logits, axis=1, kind="stable")[:, : recipe.top_k]
    odds = _odds(logits, indices)
    step = max(float(odds.max()) / LEVELS, 1e-6)
    head = HEAD.pack(MAGIC, recipe.first, recipe.count, classes, recipe.top_k, step)
    values = np.rint(odds / np.float32(step)).clip(0, LEVELS).astype(np.uint8)
    return head + _pack_indices(indices, _index_bits(classes)) + pack(values.reshape(-1), 4)


def _odds(logits: Floats, indices: NDArray[np.int64]) -> Floats:
    """Top-k logits above the log of the others' mean exponential (or the last, if none is left)."""
    top: Floats = np.take_along_axis(logits, indices, axis=1)
    rest = np.exp(logits - top[:, :1])
    np.put_along_axis(rest, indices, 0, axis=1)
    others = max(1, logits.shape[1] - indices.shape[1])
    mean = np.maximum(rest.sum(axis=1, keepdims=True) / np.float32(others), np.float32(1e-9))
    level = top[:, :1] + np.log(mean) if indices.shape[1] < logits.shape[1] else top[:, -1:]
    return np.maximum(top - level, np.float32(0))


def _index_bits(classes: int) -> int:
    return 4 if classes <= 16 else 16


def _pack_indices(indices: NDArray[np.int64], bits: int) -> bytes:
    if bits == 16:
        return indices.astype("<u2").tobytes()
    return pack(indices.reshape(-1).astype(np.uint8), bits)


def _unpack_indices(data: bytes, count: int, bits: int) -> NDArray[np.int64]:
    if bits == 16:
        return np.frombuffer(data, "<u2").astype(np.int64)
    return unpack(data, count, bits).astype(np.int64)
