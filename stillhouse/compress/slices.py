"""Weights chunks: what a student's tensors have over a smaller student's, and their assembly.

Bytes, little-endian: `SHW2`, u8 stages, the base and the student (f64 share of the channels, u8
bits, u8 depth a stage; zeros for no base), u8 how many widths the chunk adds, these as f64; then
four streams: packed codes, u8 levels (scales and deviations), float16, float32. For each tensor in
the layout's order come the cells outside the base's corner, in C order; batch-norm statistics are
the student's own and come whole. From 4 bits to 8 come the low nibbles of all codes. A student of
32 bits has float32 weights instead. Every prefix of a path's chunks runs. numpy alone.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stillhouse.compress.architectures import block_edges, network
from stillhouse.compress.container import Family
from stillhouse.compress.layout import Role
from stillhouse.compress.quantize import (
    BITS,
    FLOAT_BITS,
    LEVELS,
    Codes,
    Floats,
    decode,
    halves,
    high_planes,
    level_codes,
    level_variances,
    pack,
    packed_length,
    steps,
    unpack,
)
from stillhouse.entities import ArchitectureSpec, Student, WeightsRecipe
from stillhouse.errors import Refusal, VerificationFailed

MAGIC = b"SHW2"
START = struct.Struct("<4sB")
SCALE = "scale of "  # before the name of its weight
VARIANCE = "running_var"  # ends the name of what travels as a deviation

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Stream = Literal["codes", "levels", "halves", "floats"]
STREAMS: Mapping[Stream, np.dtype[Any]] = {
    "codes": np.dtype("u1"),  # packed
    "levels": np.dtype("u1"),
    "halves": np.dtype("<f2"),
    "floats": np.dtype("<f4"),
}


@dataclass(frozen=True, slots=True)
class StudentArrays:
    """A student as a device holds it; `codes` have the student's bits.

    `steps` broadcasts over the codes of its name: weight = (code + 1/2 - 2**(bits - 1)) * step;
    `floats` are batch norms and biases, and the weights of a student of 32 bits.
    """

    student: Student
    codes: Mapping[str, Codes]
    steps: Mapping[str, Floats]
    floats: Mapping[str, Floats]

    def state(self) -> dict[str, Floats]:
        """All tensors of the network by name, float32."""
        bits = self.student.bits
        weights = {name: decode(c, self.steps[name], bits) for name, c in self.codes.items()}
        return weights | dict(self.floats)


@dataclass(frozen=True, slots=True)
class _Step:
    """Which student a chunk leads to, from which, and the widths that it adds to the grid's."""

    base: Student | None
    student: Student
    added: tuple[float, ...]

    @property
    def planes(self) -> bool:
        """Whether the chunk has the next bit-planes of the codes that are there."""
        return self.base is not None and self.base.bits < self.student.bits

    @property
    def bits(self) -> int:
        """Of a code in the chunk."""
        return self.student.bits - (self.base.bits if self.base and self.planes else 0)


@dataclass(frozen=True, slots=True)
class _Part:
    """An array of a chunk: the student's shape, and the base's corner that is not sent."""

    name: str
    shape: tuple[int, ...]
    corner: tuple[int, ...] | None

    @property
    def count(self) -> int:
        """Cells that the chunk holds."""
        return prod(self.shape) - (prod(self.corner) if self.corner is not None else 0)

    def cells(self) -> NDArray[np.bool_]:
        """True where the chunk holds the value."""
        mask = np.ones(self.shape, bool)
        if self.corner is not None:
            mask[_region(self.corner)] = False
        return mask


Parts = Mapping[Stream, Sequence[_Part]]


def weights_chunk(family: Family, recipe: WeightsRecipe) -> bytes:
    """The chunk of `recipe`; the same bytes on every machine. KeyError for a foreign student."""
    architecture, student = family.header.architecture, recipe.student
    widths = _widths(family.header.grid.widths, student)
    step = _step(widths, recipe)
    arrays = _travelling(family, student, step)
    parts = _parts(architecture, step, widths)
    return _head(step) + b"".join(_cut(stream, parts[stream], arrays, step) for stream in STREAMS)


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """How a chunk is laid out: the bits of its codes, the bytes of its head and of each stream."""

    bits: int
    head: int
    streams: tuple[int, ...]  # in the order of STREAMS

    @property
    def length(self) -> int:
        return self.head + sum(self.streams)


def chunk_layout(
    architecture: ArchitectureSpec, widths: Sequence[float], recipe: WeightsRecipe
) -> ChunkLayout:
    """Of the chunk of `recipe` in a family of these widths, without building it."""
    own = _widths(widths, recipe.student)
    step = _step(own, recipe)
    lengths = _lengths(_parts(architecture, step, own), step)
    return ChunkLayout(step.bits, len(_head(step)), tuple(lengths[stream] for stream in STREAMS))


def recipe_bytes(
    architecture: ArchitectureSpec, widths: Sequence[float], recipe: WeightsRecipe
) -> int:
    """The length of the chunk of `recipe` in a family of these widths, without building it."""
    return chunk_layout(architecture, widths, recipe).length


def own_bytes(architecture: ArchitectureSpec, student: Student) -> int:
    """What every chunk that leads to `student` brings of its own: statistics, and its head."""
    of = network(architecture, student).tensors()
    statistics = [tensor for tensor in of if tensor.role is Role.STATISTIC]
    sizes = {True: STREAMS["levels"].itemsize, False: STREAMS["halves"].itemsize}
    size = sum(prod(t.shape) * sizes[t.name.endswith(VARIANCE)] for t in statistics)
    return size + len(_head(_Step(student, student, ())))


def rounded(name: str, value: Floats) -> Floats:
    """A vector or statistic as it travels: a family keeps these, so that devices compute the same.

    float16, and for a variance the square of a level: at most 3.5 % away, never zero.
    """
    return level_variances(value) if name.endswith(VARIANCE) else halves(value)


def assemble(architecture: ArchitectureSpec, chunks: Sequence[bytes]) -> StudentArrays:
    """The student to which `chunks` lead, the first of them from nothing.

    Raises VerificationFailed unless they are whole, in order, and of this architecture.
    """
    student: Student | None = None
    widths: tuple[float, ...] = ()
    arrays: Arrays = {}
    try:
        for chunk in chunks:
            step, body = _opened(chunk)
            _check_order(student, widths, step)
            student, widths = step.student, (*widths, *step.added)
            parts = _parts(architecture, step, widths)
            arrays = _grown(arrays, parts, body, step)
        if student is None:
            raise ValueError("there is none")
        return _student(architecture, student, widths, arrays)
    except (Refusal, ValidationError, ValueError, KeyError, struct.error) as error:
        raise VerificationFailed(f"malformed weights chunks: {error}") from None


# --- heads ---------------------------------------------------------------------------------------


def _widths(grid: Sequence[float], student: Student) -> tuple[float, ...]:
    return tuple(width for width in grid if width <= student.width)


def _step(widths: Sequence[float], recipe: WeightsRecipe) -> _Step:
    held = recipe.base.width if recipe.base else 0
    return _Step(recipe.base, recipe.student, tuple(width for width in widths if width > held))


def _head(step: _Step) -> bytes:
    stages = len(step.student.depths)
    point = _point(stages)
    base = step.base
    return (
        START.pack(MAGIC, stages)
        + (point.pack(base.width, base.bits, *base.depths) if base else bytes(point.size))
        + point.pack(step.student.width, step.student.bits, *step.student.depths)
        + struct.pack(f"<B{len(step.added)}d", len(step.added), *step.added)
    )


def _point(stages: int) -> struct.Struct:
    return struct.Struct(f"<dB{stages}B")


def _opened(chunk: bytes) -> tuple[_Step, bytes]:
    magic, stages = START.unpack_from(chunk)
    if magic != MAGIC:
        raise ValueError("no such format")
    point, at = _point(stages), START.size
    base, student = point.unpack_from(chunk, at), point.unpack_from(chunk, at + point.size)
    at += 2 * point.size
    (count,) = struct.unpack_from("<B", chunk, at)
    added = struct.unpack_from(f"<{count}d", chunk, at + 1)
    step = _Step(_read(base) if any(base) else None, _read(student), added)
    return step, chunk[at + 1 + 8 * count :]


def _read(point: tuple[Any, ...]) -> Student:
    width, bits, *depths = point
    return Student(width=width, bits=bits, depths=tuple(depths))


def _check_order(before: Student | None, widths: tuple[float, ...], step: _Step) -> None:
    """Each chunk must grow the student before it: its cells, or its planes."""
    held, wanted, whole = step.base, step.student, (*widths, *step.added)
    if held != before:
        raise ValueError("out of order")
    if whole[-1:] != (wanted.width,) or list(whole) != sorted(set(whole)):
        raise ValueError("widths")
    if held and not held.within(wanted):
        raise ValueError("a smaller student")
    if held and held.bits != wanted.bits and not _same_shape(held, wanted):
        raise ValueError("of other bits")


def _same_shape(held: Student, wanted: Student) -> bool:
    """Of the same shape, and both quantised."""
    return (held.width, held.depths) == (wanted.width, wanted.depths) and wanted.bits == BITS


# --- bodies --------------------------------------------------------------------------------------


def _region(corner: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(map(slice, corner))


def _arrays(
    architecture: ArchitectureSpec, student: Student, widths: tuple[float, ...]
) -> Iterator[tuple[Stream, str, tuple[int, ...], bool]]:
    """Stream, name and shape of all that a student consists of, and if it is its own alone."""
    edges = block_edges(architecture, widths)
    for tensor in network(architecture, student).tensors():
        name, shape, own = tensor.name, tensor.shape, tensor.role is Role.STATISTIC
        if tensor.role is not Role.WEIGHT:
            yield ("levels" if name.endswith(VARIANCE) else "halves"), name, shape, own
        elif student.bits == FLOAT_BITS:
            yield "floats", name, shape, own
        else:
            yield "codes", name, shape, own
            yield "levels", SCALE + name, (shape[0], edges[name].index(shape[1]) + 1), own


def _parts(architecture: ArchitectureSpec, step: _Step, widths: tuple[float, ...]) -> Parts:
    """What a chunk holds, in order."""
    held = {}
    if step.base is not None:
        held = {name: shape for _, name, shape, _ in _arrays(architecture, step.base, widths)}
    parts: dict[Stream, list[_Part]] = {stream: [] for stream in STREAMS}
    for stream, name, shape, own in _arrays(architecture, step.student, widths):
        whole = own or (step.planes and stream == "codes")
        parts[stream].append(_Part(name, shape, None if whole else held.get(name)))
    return parts


def _lengths(parts: Parts, step: _Step) -> dict[Stream, int]:
    """The bytes of each stream."""
    counts = {stream: sum(part.count for part in parts[stream]) for stream in STREAMS}
    sizes = {stream: counts[stream] * STREAMS[stream].itemsize for stream in STREAMS}
    return {**sizes, "codes": packed_length(counts["codes"], step.bits)}


def _travelling(family: Family, student: Student, step: _Step) -> dict[str, Array]:
    """All that the family has for `student`, by name, as it travels."""
    shared = {**family.vectors, **family.statistics[student]}
    found: dict[str, Array] = {
        name: level_codes(np.sqrt(value)) if name.endswith(VARIANCE) else value
        for name, value in shared.items()
    }
    if student.bits == FLOAT_BITS:
        return found | dict(family.floats)
    planes = np.uint8((1 << step.bits) - 1)
    found |= {n: high_planes(code, student.bits) & planes for n, code in family.codes.items()}
    return found | {SCALE + name: level_codes(scale) for name, scale in family.scales.items()}


def _cut(stream: Stream, parts: Sequence[_Part], arrays: Arrays, step: _Step) -> bytes:
    if not parts:
        return b""
    cells = [arrays[part.name][_region(part.shape)][part.cells()] for part in parts]
    values = np.concatenate(cells).astype(STREAMS[stream])
    return pack(values, step.bits) if stream == "codes" else values.tobytes()


def _grown(held: Arrays, parts: Parts, body: bytes, step: _Step) -> dict[str, Array]:
    """The held corners with the chunk's cells around them, or its planes below them.

    ValueError before anything is allocated if the chunk is not as long as it must be.
    """
    lengths, grown, at = _lengths(parts, step), {}, 0
    if len(body) != sum(lengths.values()):
        raise ValueError("length")
    for stream, size in lengths.items():
        values = _values(stream, body[at : at + size], parts[stream], step)
        at += size
        for part in parts[stream]:
            new, values = values[: part.count], values[part.count :]
            grown[part.name] = _around(part, held, new)
            if stream == "codes" and step.planes:
                low = np.uint8(step.bits)
                grown[part.name] = held[part.name] << low | grown[part.name]
    return grown


def _values(stream: Stream, data: bytes, parts: Sequence[_Part], step: _Step) -> Array:
    """The cells of a stream, flat; ValueError for a float that is no number."""
    if stream == "codes":
        return unpack(data, sum(part.count for part in parts), step.bits)
    values: Array = np.frombuffer(data, STREAMS[stream])
    if not np.isfinite(values).all():
        raise ValueError("a value that is not a number")
    return values


def _around(part: _Part, held: Arrays, new: Array) -> Array:
    if part.corner is None:
        return new.reshape(part.shape)
    array: Array = np.empty(part.shape, new.dtype)
    array[_region(part.corner)] = held[part.name]
    array[part.cells()] = new
    return array


def _student(
    architecture: ArchitectureSpec, student: Student, widths: tuple[float, ...], arrays: Arrays
) -> StudentArrays:
    edges = block_edges(architecture, widths)
    codes: dict[str, Codes] = {}
    step: dict[str, Floats] = {}
    floats: dict[str, Floats] = {}
    for stream, name, _, _ in _arrays(architecture, student, widths):
        array = arrays[name]
        if stream == "codes":
            codes[name] = array
        elif name.startswith(SCALE):
            of = name.removeprefix(SCALE)
            step[of] = steps(LEVELS[array], edges[of], codes[of].ndim, student.bits)
        elif stream == "levels":
            floats[name] = LEVELS[array] * LEVELS[array]
        else:
            floats[name] = array.astype(np.float32)
    return StudentArrays(student, codes, step, floats)
