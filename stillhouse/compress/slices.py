"""Weights chunks: the cells of a student's tensors that a smaller one lacks, and their assembly.

Bytes: `SHW1`, little-endian u16 length of a JSON header (base, student, widths of the blocks), the
header, packed codes, float32 values. For each tensor in the layout's order come the cells outside
the base's corner, in C order; batch-norm statistics are the student's own and come whole. A student
of 32 bits has no codes: its weights are float32 values. Every prefix of a path's chunks is a
runnable student. numpy alone.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stillhouse.compress.container import Family, block_edges
from stillhouse.compress.layout import Role, network
from stillhouse.compress.quantize import (
    FLOAT_BITS,
    Codes,
    Floats,
    decode,
    high_planes,
    pack,
    packed_length,
    steps,
    unpack,
)
from stillhouse.entities import ArchitectureSpec, Entity, Student, WeightsRecipe
from stillhouse.errors import Refusal, VerificationFailed

HEAD = struct.Struct("<4sH")
MAGIC = b"SHW1"
SCALE = "scale of "  # before the name of its weight

T = TypeVar("T", np.uint8, np.float32)
Edges = Mapping[str, tuple[int, ...]]


class SliceHeader(Entity):
    """Which student a chunk leads to, from which, and the widths whose blocks have scales."""

    base: Student | None
    student: Student
    widths: tuple[float, ...]


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
class _Part:
    """An array of a chunk: the student's shape, and the base's corner that is not sent."""

    name: str
    shape: tuple[int, ...]
    corner: tuple[int, ...] | None

    def cells(self) -> NDArray[np.bool_]:
        """True where the chunk holds the value."""
        mask = np.ones(self.shape, bool)
        if self.corner is not None:
            mask[_region(self.corner)] = False
        return mask


@dataclass(frozen=True, slots=True)
class _Shapes:
    """The arrays of a student by name: its codes, and its floats, scales among them."""

    codes: Mapping[str, tuple[int, ...]]
    floats: Mapping[str, tuple[int, ...]]
    own: frozenset[str]  # statistics: of this student alone


def _region(corner: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(map(slice, corner))


def _shapes(architecture: ArchitectureSpec, student: Student, edges: Edges) -> _Shapes:
    codes: dict[str, tuple[int, ...]] = {}
    floats: dict[str, tuple[int, ...]] = {}
    own = set()
    for tensor in network(architecture, student).tensors():
        if tensor.role is Role.WEIGHT and student.bits != FLOAT_BITS:
            codes[tensor.name] = tensor.shape
            blocks = edges[tensor.name].index(tensor.shape[1]) + 1
            floats[SCALE + tensor.name] = (tensor.shape[0], blocks)
        else:
            floats[tensor.name] = tensor.shape
        if tensor.role is Role.STATISTIC:
            own.add(tensor.name)
    return _Shapes(codes, floats, frozenset(own))


def _parts(architecture: ArchitectureSpec, header: SliceHeader) -> tuple[list[_Part], list[_Part]]:
    """What a chunk holds of codes and of floats, in order."""
    edges = block_edges(architecture, header.widths)
    new = _shapes(architecture, header.student, edges)
    old = _shapes(architecture, header.base, edges) if header.base else _Shapes({}, {}, frozenset())
    codes = [_Part(name, shape, old.codes.get(name)) for name, shape in new.codes.items()]
    floats = [
        _Part(name, shape, None if name in new.own else old.floats.get(name))
        for name, shape in new.floats.items()
    ]
    return codes, floats


def weights_chunk(family: Family, recipe: WeightsRecipe) -> bytes:
    """The chunk of `recipe`; the same bytes on every machine. KeyError for a foreign student."""
    student = recipe.student
    header = SliceHeader(
        base=recipe.base,
        student=student,
        widths=tuple(w for w in family.header.grid.widths if w <= student.width),
    )
    code_parts, float_parts = _parts(family.header.architecture, header)
    floats = {SCALE + name: scale for name, scale in family.scales.items()}
    floats |= {**family.vectors, **family.statistics[student]}
    if student.bits == FLOAT_BITS:
        floats |= family.floats
    codes = _packed(code_parts, family.codes, student.bits)
    text = header.model_dump_json().encode()
    values = _cut(float_parts, floats).astype("<f4").tobytes()
    return HEAD.pack(MAGIC, len(text)) + text + codes + values


def _packed(parts: Sequence[_Part], codes: Mapping[str, Codes], bits: int) -> bytes:
    return pack(high_planes(_cut(parts, codes), bits), bits) if parts else b""


def _cut(parts: Sequence[_Part], arrays: Mapping[str, NDArray[T]]) -> NDArray[T]:
    return np.concatenate([arrays[part.name][_region(part.shape)][part.cells()] for part in parts])


def assemble(architecture: ArchitectureSpec, chunks: Sequence[bytes]) -> StudentArrays:
    """The student to which `chunks` lead, the first of them from nothing.

    Raises VerificationFailed unless they are whole, in order, and of this architecture.
    """
    base: SliceHeader | None = None
    codes: Mapping[str, Codes] = {}
    floats: Mapping[str, Floats] = {}
    try:
        for chunk in chunks:
            header, body = _opened(chunk)
            _check_order(base, header)
            code_parts, float_parts = _parts(architecture, header)
            new_codes, new_floats = _streams(body, code_parts, float_parts, header.student.bits)
            codes = _grown(code_parts, codes, new_codes)
            floats, base = _grown(float_parts, floats, new_floats), header
    except (Refusal, ValidationError, ValueError, struct.error) as error:
        raise VerificationFailed(f"malformed weights chunk: {error}") from None
    if base is None:
        raise VerificationFailed("no weights chunk")
    return _student(architecture, base, codes, floats)


def _opened(chunk: bytes) -> tuple[SliceHeader, bytes]:
    magic, length = HEAD.unpack_from(chunk)
    if magic != MAGIC:
        raise ValueError("no such format")
    text = chunk[HEAD.size : HEAD.size + length]
    return SliceHeader.model_validate_json(text), chunk[HEAD.size + length :]


def _check_order(before: SliceHeader | None, header: SliceHeader) -> None:
    """Each chunk must grow the student before it, on the same grid."""
    held, wanted, widths = before and before.student, header.student, header.widths
    if header.base != held:
        raise ValueError("out of order")
    if wanted.bits not in (4, 8, FLOAT_BITS):
        raise ValueError("bits")
    if held and not (held.within(wanted) and held.bits == wanted.bits):
        raise ValueError("a smaller student, or of other bits")
    if not widths or list(widths) != sorted(set(widths)) or widths[-1] != wanted.width:
        raise ValueError("widths")
    if before and widths[: len(before.widths)] != before.widths:
        raise ValueError("another grid")


def _streams(
    body: bytes, code_parts: Sequence[_Part], float_parts: Sequence[_Part], bits: int
) -> tuple[Codes, Floats]:
    """Codes and floats of a chunk, flat; ValueError if they are not exactly what it must hold."""
    codes, floats = (
        sum(int(part.cells().sum()) for part in parts) for parts in (code_parts, float_parts)
    )
    split = packed_length(codes, bits)
    if len(body) != split + 4 * floats:
        raise ValueError("length")
    values = np.frombuffer(body[split:], "<f4").astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a value that is not a number")
    return unpack(body[:split], codes, bits) if codes else np.empty(0, np.uint8), values


def _grown(
    parts: Sequence[_Part], held: Mapping[str, NDArray[T]], new: NDArray[T]
) -> dict[str, NDArray[T]]:
    """The held corners with `new` cells around them."""
    grown = {}
    for part in parts:
        mask, array = part.cells(), np.empty(part.shape, new.dtype)
        if part.corner is not None:
            array[_region(part.corner)] = held[part.name]
        count = int(mask.sum())
        array[mask], new = new[:count], new[count:]
        grown[part.name] = array
    return grown


def _student(
    architecture: ArchitectureSpec,
    header: SliceHeader,
    codes: Mapping[str, Codes],
    floats: Mapping[str, Floats],
) -> StudentArrays:
    for name, array in floats.items():
        if (name.startswith(SCALE) or name.endswith("running_var")) and not (array > 0).all():
            raise VerificationFailed(f"{name} is not positive")
    edges, bits = block_edges(architecture, header.widths), header.student.bits
    return StudentArrays(
        student=header.student,
        codes=codes,
        steps={n: steps(floats[SCALE + n], edges[n], c.ndim, bits) for n, c in codes.items()},
        floats={n: array for n, array in floats.items() if not n.startswith(SCALE)},
    )
