"""Public windows: the unlabelled inputs that every device installs once, and their byte format.

Bytes, little-endian: `SHP1` or `SHP2`, u32 windows, u16 axes, u16 samples; float32 scale per axis;
values [windows, axes, samples], standardised = value * scale: int8 in `SHP1`, in `SHP2` u16, ids
whose scales are 1. Nothing may follow.
"""

import hashlib
import struct
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stillhouse.compress.quantize import Floats
from stillhouse.errors import Invalid, VerificationFailed

HEAD = struct.Struct("<4sIHH")
VALUES: dict[bytes, np.dtype[Any]] = {b"SHP1": np.dtype("i1"), b"SHP2": np.dtype("<u2")}
MAGIC = {values.kind: magic for magic, values in VALUES.items()}
LARGEST_ID = 0xFFFF


@dataclass(frozen=True, slots=True)
class PublicWindows:
    """Quantised inputs, the same on every device; `codes` [windows, axes, samples], int8 or ids."""

    codes: NDArray[np.int8] | NDArray[np.uint16]
    scales: Floats

    @classmethod
    def quantise(cls, x: Floats, *, discrete: bool = False) -> Self:
        """From standardised [windows, axes, samples]; the largest value of an axis becomes 127.

        Discrete values are kept as they are: Invalid unless they are ids of 16 bits.
        """
        if discrete:
            if not ((x >= 0) & (x <= LARGEST_ID) & (x == np.rint(x))).all():
                raise Invalid("a discrete input that is no id of 16 bits")
            return cls(x.astype(np.uint16), np.ones(x.shape[1], np.float32))
        scales = np.maximum(np.abs(x).max(axis=(0, 2)) / np.float32(127), np.float32(1e-8))
        return cls(np.rint(x / scales[:, None]).astype(np.int8), scales)

    @classmethod
    def choose(cls, x: Floats, count: int, *, discrete: bool = False) -> Self:
        """At most `count` of the standardised windows, spread evenly: whoever has the transfer set
        gets the same ones, so a device can hold them before the central model is registered."""
        places = np.linspace(0, len(x) - 1, min(count, len(x))).round().astype(int)
        return cls.quantise(x[places], discrete=discrete)

    def __len__(self) -> int:
        return len(self.codes)

    def values(self) -> Floats:
        """Standardised float32 [windows, axes, samples]."""
        x: Floats = self.codes.astype(np.float32) * self.scales[:, None]
        return x

    def to_bytes(self) -> bytes:
        magic = MAGIC[self.codes.dtype.kind]
        return (
            HEAD.pack(magic, *self.codes.shape)
            + self.scales.astype("<f4").tobytes()
            + self.codes.astype(VALUES[magic]).tobytes()
        )

    def digest(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises VerificationFailed for anything that `to_bytes` would not write."""
        if len(data) < HEAD.size:
            raise VerificationFailed("public windows end in their head")
        magic, *shape = HEAD.unpack_from(data)
        values, (_, axes, _) = VALUES.get(magic), shape
        if values is None or len(data) != HEAD.size + 4 * axes + prod(shape) * values.itemsize:
            raise VerificationFailed("public windows are not as long as their head says")
        scales = np.frombuffer(data, "<f4", axes, HEAD.size).astype(np.float32)
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise VerificationFailed("a scale of the public windows is no positive number")
        if values.kind == "u" and (scales != 1).any():
            raise VerificationFailed("ids of public windows are never scaled")
        codes = np.frombuffer(data, values, offset=HEAD.size + 4 * axes)
        return cls(codes.reshape(shape).astype(values.newbyteorder("=")), scales)
