"""Public windows: the unlabelled inputs that every device installs once, and their byte format.

Bytes: `SHP1`, then little-endian u32 windows, u16 axes, u16 samples; float32 scale per axis; int8
values [windows, axes, samples], standardised = value * scale. Nothing may follow.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stillhouse.compress.quantize import Floats
from stillhouse.errors import VerificationFailed

HEAD = struct.Struct("<4sIHH")
MAGIC = b"SHP1"


@dataclass(frozen=True, slots=True)
class PublicWindows:
    """Quantised inputs, the same on every device; `codes` int8 [windows, axes, samples]."""

    codes: NDArray[np.int8]
    scales: Floats

    @classmethod
    def quantise(cls, x: Floats) -> Self:
        """From standardised [windows, axes, samples]; the largest value of an axis becomes 127."""
        scales = np.maximum(np.abs(x).max(axis=(0, 2)) / np.float32(127), np.float32(1e-8))
        return cls(np.rint(x / scales[:, None]).astype(np.int8), scales)

    @classmethod
    def choose(cls, x: Floats, count: int) -> Self:
        """At most `count` of the standardised windows, spread evenly: whoever has the transfer set
        gets the same ones, so a device can hold them before the central model is registered."""
        places = np.linspace(0, len(x) - 1, min(count, len(x))).round().astype(int)
        return cls.quantise(x[places])

    def __len__(self) -> int:
        return len(self.codes)

    def values(self) -> Floats:
        """Standardised float32 [windows, axes, samples]."""
        x: Floats = self.codes.astype(np.float32) * self.scales[:, None]
        return x

    def to_bytes(self) -> bytes:
        return (
            HEAD.pack(MAGIC, *self.codes.shape)
            + self.scales.astype("<f4").tobytes()
            + self.codes.tobytes()
        )

    def digest(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises VerificationFailed for anything that `to_bytes` would not write."""
        if len(data) < HEAD.size:
            raise VerificationFailed("public windows end in their head")
        magic, count, axes, samples = HEAD.unpack_from(data)
        if magic != MAGIC or len(data) != HEAD.size + 4 * axes + count * axes * samples:
            raise VerificationFailed("public windows are not as long as their head says")
        scales = np.frombuffer(data, "<f4", axes, HEAD.size).astype(np.float32)
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise VerificationFailed("a scale of the public windows is no positive number")
        codes = np.frombuffer(data, np.int8, offset=HEAD.size + 4 * axes)
        return cls(codes.reshape(count, axes, samples), scales)
