"""The family's integer grid: a scale per (output channel, input block), nested bit-planes.

A weight is `(code + 1/2 - 2**(bits - 1)) * step`, and the step of 4 bits is 16 times that of 8: the
codes of 4 bits are the high nibbles of those of 8. A block is what one width step adds: a narrower
student never needs, and is never changed by, the scale of what it lacks, so a wider or deeper one
only adds bytes. Scales, and the deviations of batch norms, are one of 256 levels, ten an octave: a
byte each. numpy alone: the same bytes on every machine.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import Invalid

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

BITS = 8  # of the finest codes
FLOAT_BITS = 32  # of a weight that is not quantised: no code, no scale
LEVELS: Floats = np.array([2 ** (k / 10 - 18) for k in range(256)], np.float32)
BETWEEN: Floats = np.sqrt(LEVELS[1:] * LEVELS[:-1])  # where the nearer of two levels changes
LARGEST_HALF = np.float32(65504)


def block_scales(weight: Floats, edges: Sequence[int]) -> Floats:
    """[outputs, blocks]: the least level that as a step of 8-bit codes spans a block's magnitudes.

    Invalid for weights of 23,000 and more, or that are no numbers.
    """
    blocks = [weight[:, a:b].reshape(len(weight), -1) for a, b in pairwise((0, *edges))]
    largest = np.stack([np.abs(block).max(axis=1) for block in blocks], axis=1)
    above = np.searchsorted(LEVELS, largest / np.float32(127.5))
    if (above == len(LEVELS)).any():
        raise Invalid("a weight is too large for the grid of scales")
    scales: Floats = LEVELS[above]
    return scales


def near_scales(weight: Floats, edges: Sequence[int], held: Floats, tolerance: int) -> Floats:
    """The `held` scales [outputs, blocks], but for blocks that grew out of theirs by more than
    `tolerance` of its steps."""
    fresh = block_scales(weight, edges)
    return np.where(fresh > held * np.float32(1 + tolerance / 127.5), fresh, held)


def level_codes(values: Floats) -> Codes:
    """The bytes of values that are levels; Invalid for others."""
    codes: Codes = np.searchsorted(BETWEEN, values).astype(np.uint8)
    if not np.array_equal(LEVELS[codes], values):
        raise Invalid("a scale that is no level of the grid")
    return codes


def level_variances(variances: Floats) -> Floats:
    """The nearest variances whose deviations are levels: half a level, 3.5 %, at most away."""
    levels: Floats = LEVELS[np.searchsorted(BETWEEN, np.sqrt(variances))]
    return levels * levels


def halves(values: Floats) -> Floats:
    """The nearest values that float16 has, as float32; what is beyond its range becomes its end."""
    near: Floats = np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype(np.float16)
    return near.astype(np.float32)


def steps(scales: Floats, edges: Sequence[int], axes: int, bits: int) -> Floats:
    """[outputs, inputs, 1, ...]: the step of each weight for codes of `bits`."""
    wide: Floats = np.repeat(scales, np.diff((0, *edges)), axis=1) * np.float32(2 ** (BITS - bits))
    step: Floats = wide.reshape(*wide.shape, *(1,) * (axes - 2))
    return step


def encode(weight: Floats, step: Floats) -> Codes:
    """8-bit codes of `weight`; `step` as from `steps` for 8 bits."""
    codes: Codes = np.clip(np.floor(weight / step) + 128, 0, 255).astype(np.uint8)
    return codes


def encode_near(weight: Floats, step: Floats, held: Codes, tolerance: int) -> Codes:
    """8-bit codes of `weight` at most `tolerance` codes from the nearest, cheap to send to a device
    that holds `held`: few different changes, and the held high nibble wherever it will do."""
    exact, before = encode(weight, step).astype(np.int16), held.astype(np.int16)
    stride = 2 * tolerance + 1
    strided = (exact - before + tolerance + 256 * stride) // stride - 256
    moved = np.clip(before + strided * stride, 0, 255)
    nibble = before & 0xF0
    within = np.clip(moved, nibble, nibble + 15)
    codes: Codes = np.where(np.abs(within - exact) <= tolerance, within, moved).astype(np.uint8)
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
