"""The family's integer grid: a scale per (output channel, input block), nested bit-planes.

A weight is `(code + 1/2 - 2**(bits - 1)) * step`, and the step of 4 bits is 16 times that of 8: the
codes of 4 bits are the high nibbles of those of 8. A block is what one width step adds: a narrower
student never needs, and is never changed by, the scale of what it lacks, so a wider or deeper one
only adds bytes. numpy alone: the same bytes on every machine.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

BITS = 8  # of the finest codes
FLOAT_BITS = 32  # of a weight that is not quantised: no code, no scale
SMALLEST_SCALE = np.float32(1e-8)  # a block of zeros keeps a step that divides


def block_scales(weight: Floats, edges: Sequence[int]) -> Floats:
    """[outputs, blocks]: the step of 8-bit codes that spans each block's largest magnitude."""
    blocks = [weight[:, a:b].reshape(len(weight), -1) for a, b in pairwise((0, *edges))]
    largest = np.stack([np.abs(block).max(axis=1) for block in blocks], axis=1)
    return np.maximum(largest / np.float32(127.5), SMALLEST_SCALE).astype(np.float32)


def steps(scales: Floats, edges: Sequence[int], axes: int, bits: int) -> Floats:
    """[outputs, inputs, 1, ...]: the step of each weight for codes of `bits`."""
    wide: Floats = np.repeat(scales, np.diff((0, *edges)), axis=1) * np.float32(2 ** (BITS - bits))
    step: Floats = wide.reshape(*wide.shape, *(1,) * (axes - 2))
    return step


def encode(weight: Floats, step: Floats) -> Codes:
    """8-bit codes of `weight`; `step` as from `steps` for 8 bits."""
    codes: Codes = np.clip(np.floor(weight / step) + 128, 0, 255).astype(np.uint8)
    return codes


def decode(codes: Codes, step: Floats, bits: int) -> Floats:
    """The weights that codes of `bits` stand for: the middle of each step."""
    weights: Floats = (codes.astype(np.float32) + np.float32(0.5 - 2 ** (bits - 1))) * step
    return weights


def high_planes(codes: Codes, bits: int) -> Codes:
    """The `bits` highest bit-planes of 8-bit codes, as codes of `bits`."""
    planes: Codes = codes >> np.uint8(BITS - bits)
    return planes


def packed_length(count: int, bits: int) -> int:
    return (count * bits + 7) // 8


def pack(codes: Codes, bits: int) -> bytes:
    """Flat codes of 4 or 8 bits as bytes, the first of two nibbles high."""
    if bits == BITS:
        return codes.tobytes()
    even = np.append(codes, np.zeros(len(codes) % 2, np.uint8))
    return (even[::2] << np.uint8(4) | even[1::2]).tobytes()


def unpack(data: bytes, count: int, bits: int) -> Codes:
    """The inverse of `pack`; `data` must be `packed_length(count, bits)` long."""
    codes = np.frombuffer(data, np.uint8)
    if bits == BITS:
        return codes
    return np.stack([codes >> np.uint8(4), codes & np.uint8(15)], axis=1).reshape(-1)[:count]
