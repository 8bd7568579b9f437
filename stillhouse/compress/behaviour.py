"""Behaviour chunks: what the central model says of the public windows, in less than two bytes each.

Logits: the k likeliest classes of a window, and by how much the log-odds of each exceed the mean of
the others, in 4 bits (top-2 in int4 teaches as well as all logits, ALGORITHMS D). Features: all
values, each window with a step of its own, in 4 bits where their cosine stays .99, else in 8.
Bytes, little-endian: `SHB2`, u32 first, u16 count, u16 outputs less one, u8 k (0: features), u8
bits; then of logits a float32 step, the classes as one number (mixed radix, a window after the
other), packed values; of features a float32 step a window, packed values. numpy alone.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stillhouse.compress.container import Family
from stillhouse.compress.quantize import BITS, Codes, Floats, pack, packed_length, unpack
from stillhouse.entities import BehaviourRecipe
from stillhouse.errors import Invalid, VerificationFailed

HEAD = struct.Struct("<4sIHHBB")
MAGIC = b"SHB2"
ODDS_BITS = 4
LARGEST_ODDS = 60.0  # of a class against the others: their share stays a number
LARGEST_STEP = 1e6
MOST_CLASSES = 1 << 16  # named in one chunk
CLIP = np.float32(2.7)  # deviations that 4 bits span: there they lose least of a bell curve
COSINE = 0.99  # of features in 4 bits with themselves; less, and they travel in 8

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Of a central model on public windows [first, first + count): either of two kinds.

    Logits: `indices` [count, k] are classes, likeliest first; `odds` float32 [count, k] are their
    logits, where every other class has zero. `features` float32 [count, outputs], else None.
    """

    first: int
    outputs: int
    indices: Integers
    odds: Floats
    features: Floats | None = None

    def __len__(self) -> int:
        return len(self.indices if self.features is None else self.features)

    def soft_targets(self, temperature: float) -> Floats:
        """Probabilities [count, classes] at `temperature`; the others share the remaining mass."""
        logits = np.zeros((len(self), self.outputs), np.float32)
        np.put_along_axis(logits, self.indices, self.odds, axis=1)
        weights = np.exp((logits - logits.max(axis=1, keepdims=True)) / np.float32(temperature))
        shares: Floats = weights / weights.sum(axis=1, keepdims=True)
        return shares

    def log_probabilities(self) -> Floats:
        """Of `indices`, at temperature 1."""
        return np.log(np.take_along_axis(self.soft_targets(1), self.indices, axis=1))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises VerificationFailed for malformed bytes."""
        try:
            magic, first, count, last, k, bits = HEAD.unpack_from(data)
            if magic != MAGIC or bits not in (ODDS_BITS, BITS) or k > last + 1:
                raise ValueError("no such format")
            read = _read_logits if k else _read_features
            return cls(first, last + 1, *read(data[HEAD.size :], count, last + 1, k, bits))
        except (ValueError, struct.error) as error:
            raise VerificationFailed(f"malformed behaviour chunk: {error}") from None

    @classmethod
    def joined(cls, chunks: Sequence[bytes]) -> Self:
        """What several chunks say, in the order of their windows.

        VerificationFailed if they leave some out, are of different kinds, or malformed.
        """
        parts = sorted(map(cls.from_bytes, chunks), key=lambda part: part.first)
        if len({(part.outputs, part.indices.shape[1]) for part in parts}) != 1:
            raise VerificationFailed("behaviour chunks of different kinds, or none")
        if any(a.first + len(a) != b.first for a, b in pairwise(parts)):
            raise VerificationFailed("behaviour chunks that do not follow each other")
        features = [part.features for part in parts if part.features is not None]
        return cls(
            parts[0].first,
            parts[0].outputs,
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.odds for part in parts]),
            np.concatenate(features) if features else None,
        )


def behaviour_chunk(family: Family, recipe: BehaviourRecipe) -> bytes:
    """The chunk of `recipe`; the same bytes on every machine. Invalid beyond the public windows."""
    count, outputs = family.logits.shape
    last, of_features = recipe.first + recipe.count, recipe.layer == "features"
    fits = recipe.top_k <= outputs and recipe.count * recipe.top_k <= MOST_CLASSES
    if last > count or not fits or of_features != (recipe.top_k == 0):
        raise Invalid(f"{count} public windows and {outputs} outputs, not {recipe}")
    values = family.logits[recipe.first : last]
    bits, body = _features(values) if of_features else _logits(values, recipe.top_k)
    head = HEAD.pack(MAGIC, recipe.first, recipe.count, outputs - 1, recipe.top_k, bits)
    return head + body


# --- logits --------------------------------------------------------------------------------------


def _logits(logits: Floats, k: int) -> tuple[int, bytes]:
    indices = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    odds = _odds(logits, indices)
    step = np.float32(max(float(odds.max()) / (2**ODDS_BITS - 1), 1e-6))
    values = np.rint(odds / step).clip(0, 2**ODDS_BITS - 1).astype(np.uint8)
    classes = _pack_classes(indices, logits.shape[1])
    return ODDS_BITS, struct.pack("<f", step) + classes + pack(values.reshape(-1), ODDS_BITS)


def _odds(logits: Floats, indices: Integers) -> Floats:
    """Top-k logits above the log of the others' mean exponential (or the last, if none is left)."""
    top: Floats = np.take_along_axis(logits, indices, axis=1)
    rest = np.exp(logits - top[:, :1])
    np.put_along_axis(rest, indices, 0, axis=1)
    others = max(1, logits.shape[1] - indices.shape[1])
    mean = np.maximum(rest.sum(axis=1, keepdims=True) / np.float32(others), np.float32(1e-9))
    level = top[:, :1] + np.log(mean) if indices.shape[1] < logits.shape[1] else top[:, -1:]
    return np.clip(top - level, 0, LARGEST_ODDS).astype(np.float32)


def _read_logits(
    data: bytes, count: int, classes: int, k: int, bits: int
) -> tuple[Integers, Floats, None]:
    """ValueError for a body that `_logits` would not write."""
    size, split = count * k, 4 + _classes_length(count, classes, k)
    whole = len(data) == split + packed_length(size, bits)
    if bits != ODDS_BITS or not whole or size > MOST_CLASSES:
        raise ValueError("length")
    step = _steps(data[:4], LARGEST_ODDS)
    indices = _unpack_classes(data[4:split], count, classes, k)
    odds = unpack(data[split:], size, bits).reshape(count, k) * step
    return indices, odds, None


def _classes_length(count: int, classes: int, k: int) -> int:
    """Bytes of the largest number whose digits are `count` windows' k classes."""
    return (int(count * k * log2(classes)) + 8) // 8


def _pack_classes(indices: Integers, classes: int) -> bytes:
    number = 0
    for digit in indices.reshape(-1).tolist():
        number = number * classes + digit
    count, k = indices.shape
    return number.to_bytes(_classes_length(count, classes, k), "little")


def _unpack_classes(data: bytes, count: int, classes: int, k: int) -> Integers:
    number, digits = int.from_bytes(data, "little"), np.empty(count * k, np.int64)
    for place in reversed(range(count * k)):
        number, digits[place] = divmod(number, classes)
    if number:
        raise ValueError("more windows than it says")
    return digits.reshape(count, k)


# --- features ------------------------------------------------------------------------------------


def _features(features: Floats) -> tuple[int, bytes]:
    for bits in (ODDS_BITS, BITS):
        codes, steps = _quantised(features, bits)
        if bits == BITS or _cosine(features, _decoded(codes, steps, bits)) >= COSINE:
            break
    return bits, steps.astype("<f4").tobytes() + pack(codes.reshape(-1), bits)


def _quantised(features: Floats, bits: int) -> tuple[Codes, Floats]:
    """Codes [count, outputs] of `bits`, and the step of each window."""
    middle = 2 ** (bits - 1)
    largest = np.abs(features).max(axis=1)
    if bits == ODDS_BITS:
        largest = np.minimum(largest, CLIP * np.sqrt((features**2).mean(axis=1)))
    steps = np.maximum(largest / np.float32(middle - 0.5), np.float32(1e-8)).astype(np.float32)
    codes = np.clip(np.floor(features / steps[:, None]) + middle, 0, 2 * middle - 1)
    return codes.astype(np.uint8), steps


def _decoded(codes: Codes, steps: Floats, bits: int) -> Floats:
    middle = np.float32(0.5 - 2 ** (bits - 1))
    values: Floats = (codes.astype(np.float32) + middle) * steps[:, None]
    return values


def _cosine(a: Floats, b: Floats) -> float:
    """The least of any window."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(lengths, np.float32(1e-12))).min())


def _read_features(
    data: bytes, count: int, outputs: int, k: int, bits: int
) -> tuple[Integers, Floats, Floats]:
    """ValueError for a body that `_features` would not write."""
    size, split = count * outputs, 4 * count
    if len(data) != split + packed_length(size, bits):
        raise ValueError("length")
    codes = unpack(data[split:], size, bits).reshape(count, outputs)
    none = np.empty((count, k))
    steps = _steps(data[:split], LARGEST_STEP)
    return none.astype(np.int64), none.astype(np.float32), _decoded(codes, steps, bits)


def _steps(data: bytes, largest: float) -> Floats:
    steps = np.frombuffer(data, "<f4").astype(np.float32)
    if not ((steps > 0) & (steps <= largest)).all():
        raise ValueError("a step that is no positive number")
    return steps
