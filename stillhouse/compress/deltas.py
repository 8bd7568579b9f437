"""Deltas: from a weights chunk of one family to the chunk of the same recipe of its update.

Lossless: codes of 4 or 8 bits, levels and floats as differences, each kind of byte for itself, with
the better of two coders of the standard library. Bytes, little-endian: `SHD1`, u8 bits of a code,
u32 bytes of the head and of each of the chunk's four streams; then, for each stretch of one kind,
u8 coder, u32 length, what the coder made of it. The head is the old chunk's. numpy alone.
"""

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from stillhouse.compress.quantize import FLOAT_BITS, Codes, pack, unpack
from stillhouse.compress.slices import STREAMS, ChunkLayout
from stillhouse.errors import Invalid, VerificationFailed

HEAD = struct.Struct("<4sB5I")
SECTION = struct.Struct("<BI")
MAGIC = b"SHD1"
FILTERS: Sequence[Mapping[str, int]] = (
    {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0},
)


def make_delta(old: bytes, new: bytes, layout: ChunkLayout) -> bytes:
    """What `apply_delta` makes `new` from; both are chunks of this layout.

    Invalid if they are not, or not of the same recipe and grid.
    """
    if not len(old) == len(new) == layout.length or old[: layout.head] != new[: layout.head]:
        raise Invalid("two chunks that are not of the same recipe and grid")
    sizes = (layout.head, *layout.streams)
    stretches = [
        stretch
        for kind, (before, after) in enumerate(zip(_cut(old, sizes), _cut(new, sizes), strict=True))
        for stretch in _differences(kind, before, after, layout.bits)
    ]
    return HEAD.pack(MAGIC, layout.bits, *sizes) + b"".join(map(_coded, stretches))


def apply_delta(old: bytes, payload: bytes) -> bytes:
    """The new chunk; never longer than the old one.

    VerificationFailed for a payload that is no delta of `old`; the result is still to be compared
    with the digest of the chunk that it shall be.
    """
    try:
        magic, bits, *sizes = HEAD.unpack_from(payload)
        quantised = bits in (4, 8) or (bits == FLOAT_BITS and not sizes[CODES_KIND])
        if magic != MAGIC or not quantised or sum(sizes) != len(old):
            raise ValueError("of another chunk")
        rest, streams = payload[HEAD.size :], []
        for kind, before in enumerate(_cut(old, sizes)):
            stream, rest = _changed(kind, before, bits, rest)
            streams.append(stream)
        if rest:
            raise ValueError("too long")
    except (ValueError, struct.error, lzma.LZMAError, zlib.error) as error:
        raise VerificationFailed(f"malformed delta: {error}") from None
    return b"".join(streams)


def _cut(chunk: bytes, sizes: Sequence[int]) -> list[bytes]:
    ends = list(accumulate(sizes))
    return [chunk[a:b] for a, b in zip((0, *ends), ends, strict=False)]


# --- differences: a stream as stretches of bytes of one kind -------------------------------------

HEAD_KIND, CODES_KIND = 0, 1  # then the streams that are words of one size


def _differences(kind: int, old: bytes, new: bytes, bits: int) -> list[bytes]:
    if kind == HEAD_KIND or not old:
        return []
    if kind == CODES_KIND:
        return [pack((_codes(new, bits) - _codes(old, bits)) & _mask(bits), bits)]
    words = _ordered(new, kind) - _ordered(old, kind)
    return [plane.tobytes() for plane in words.view("u1").reshape(len(words), -1).T]


def _changed(kind: int, old: bytes, bits: int, rest: bytes) -> tuple[bytes, bytes]:
    """The new stream, and what of the payload comes after it."""
    if kind == HEAD_KIND or not old:
        return old, rest
    if kind == CODES_KIND:
        stretch, rest = _decoded(rest, len(old))
        codes = (_codes(old, bits) + _codes(stretch, bits)) & _mask(bits)
        return pack(codes, bits), rest
    size, planes = _dtype(kind).itemsize, []
    if len(old) % size:
        raise ValueError("half a word")
    for _ in range(size):
        plane, rest = _decoded(rest, len(old) // size)
        planes.append(np.frombuffer(plane, np.uint8))
    words = np.stack(planes, axis=1).reshape(-1).view(_dtype(kind))
    return _unordered(_ordered(old, kind) + words, kind), rest


def _codes(data: bytes, bits: int) -> Codes:
    return unpack(data, len(data) * 8 // bits, bits)


def _mask(bits: int) -> np.uint8:
    return np.uint8((1 << bits) - 1)


def _dtype(kind: int) -> "np.dtype[np.unsignedinteger]":
    """Unsigned words of the size of the stream's values."""
    return np.dtype(f"<u{list(STREAMS.values())[kind - 1].itemsize}")


def _ordered(data: bytes, kind: int) -> NDArray[np.unsignedinteger]:
    """Words whose order is that of the floats that they are: near values have small differences."""
    words = np.frombuffer(data, _dtype(kind))
    if words.itemsize == 1:
        return words
    top = words.dtype.type(1 << (8 * words.itemsize - 1))
    return np.where(words & top, ~words, words | top)


def _unordered(words: NDArray[np.unsignedinteger], kind: int) -> bytes:
    if words.itemsize > 1:
        top = words.dtype.type(1 << (8 * words.itemsize - 1))
        words = np.where(words & top, words & ~top, ~words)
    return words.astype(_dtype(kind)).tobytes()


# --- coders --------------------------------------------------------------------------------------


def _huffman(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(data) + coder.flush()


def _from_huffman(data: bytes, length: int) -> bytes:
    return zlib.decompressobj(-15).decompress(data, length)


def _lzma(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=FILTERS)


def _from_lzma(data: bytes, length: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress(data, length)


def _as_it_is(data: bytes, length: int) -> bytes:
    return data[:length]


ENCODERS: Sequence[Callable[[bytes], bytes]] = (bytes, _huffman, _lzma)
DECODERS: Sequence[Callable[[bytes, int], bytes]] = (_as_it_is, _from_huffman, _from_lzma)


def _coded(stretch: bytes) -> bytes:
    """With whichever coder makes it shortest."""
    length, coder, data = min((len(made := e(stretch)), i, made) for i, e in enumerate(ENCODERS))
    return SECTION.pack(coder, length) + data


def _decoded(payload: bytes, length: int) -> tuple[bytes, bytes]:
    """A stretch of exactly `length` bytes, and the rest; no more is ever decompressed."""
    coder, size = SECTION.unpack_from(payload)
    end = SECTION.size + size
    if coder >= len(DECODERS) or end > len(payload):
        raise ValueError("a stretch that ends nowhere")
    stretch = DECODERS[coder](payload[SECTION.size : end], length)
    if len(stretch) != length:
        raise ValueError("a stretch of another length")
    return stretch, payload[end:]
