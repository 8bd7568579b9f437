"""A family as it is stored: codes, scales and floats of all students in one safetensors container.

The container's only metadata entry is a `FamilyHeader` as JSON; its digest is the family's. numpy
alone, so that a compress task starts fast; `family.py` builds one.
"""

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import safetensors
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors.numpy import load, save

from stillhouse.compress.layout import Role, network
from stillhouse.compress.quantize import (
    FLOAT_BITS,
    Codes,
    Floats,
    decode,
    high_planes,
    packed_length,
    steps,
)
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import (
    ArchitectureSpec,
    Entity,
    FamilyTable,
    Fraction,
    Preprocessing,
    Student,
    StudentFacts,
)
from stillhouse.errors import Refusal, VerificationFailed


class FamilyGrid(Entity):
    """The points of a family: shares of the channels, depths of each stage, bits of the weights."""

    widths: tuple[float, ...] = (0.25, 0.375, 0.5, 0.75, 1.0)
    depths: tuple[tuple[int, ...], ...] = ((1, 2, 3), (1, 2, 3))
    bits: tuple[Literal[4, 8, 32], ...] = (4, 8, 32)

    def students(self) -> tuple[Student, ...]:
        """Every point, the smallest first; bits vary fastest."""
        points = itertools.product(self.widths, itertools.product(*self.depths), self.bits)
        return tuple(Student(width=w, depths=d, bits=b) for w, d, b in points)

    def shapes(self) -> tuple[Student, ...]:
        """The students of the most bits: one for each shape of network."""
        return tuple(s for s in self.students() if s.bits == max(self.bits))

    def probes(self) -> tuple[Student, ...]:
        """The corners that span all latencies: smallest, deep-narrow, shallow-wide, largest."""
        corners = itertools.product(
            (min(self.widths), max(self.widths)),
            (tuple(map(min, self.depths)), tuple(map(max, self.depths))),
        )
        return tuple(Student(width=w, depths=d, bits=8) for w, d in corners)


class FamilyHeader(Entity):
    """What a family says of itself beside its tensors."""

    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    grid: FamilyGrid
    registered_accuracy: Fraction
    registered_accuracy_se: Fraction
    rows: tuple[StudentFacts, ...] = Field(default=(), description="in the order of the grid")


@dataclass(frozen=True)
class Family:
    """The nested students of one central model version.

    `codes` uint8 and `scales` float32 by the name of a weight, `vectors` by the name of another
    shared tensor, all of the largest student; `floats` are the weights themselves, if the grid has
    students that are not quantised; `statistics` by student and name. `logits` float32 [windows,
    classes] are the central model's on `public`.
    """

    header: FamilyHeader
    codes: Mapping[str, Codes]
    scales: Mapping[str, Floats]
    vectors: Mapping[str, Floats]
    floats: Mapping[str, Floats]
    statistics: Mapping[Student, Mapping[str, Floats]]
    public: PublicWindows
    logits: Floats

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @cached_property
    def table(self) -> FamilyTable:
        header = self.header
        return FamilyTable(
            family_digest=self.digest,
            registered_accuracy=header.registered_accuracy,
            registered_accuracy_se=header.registered_accuracy_se,
            classes=self.logits.shape[1],
            rows=header.rows,
            probes=header.grid.probes(),
        )

    def weights(self, student: Student) -> dict[str, Floats]:
        """Tensors of `student` by name, its weights as it computes with them; no statistics."""
        header, found = self.header, {}
        edges = block_edges(header.architecture, header.grid.widths)
        for tensor in network(header.architecture, student).tensors():
            name, corner = tensor.name, tuple(map(slice, tensor.shape))
            if tensor.role is Role.WEIGHT and student.bits == FLOAT_BITS:
                found[name] = self.floats[name][corner]
            elif tensor.role is Role.WEIGHT:
                codes = high_planes(self.codes[name], student.bits)
                step = steps(self.scales[name], edges[name], codes.ndim, student.bits)
                found[name] = decode(codes, step, student.bits)[corner]
            elif tensor.role is Role.VECTOR:
                found[name] = self.vectors[name][corner]
        return found

    def stored_bytes(self, student: Student) -> int:
        """What `student` takes in its real format: packed codes, scales, other floats."""
        header, size = self.header, 0
        edges = block_edges(header.architecture, header.grid.widths)
        for tensor in network(header.architecture, student).tensors():
            count = math.prod(tensor.shape)
            if tensor.role is Role.WEIGHT and student.bits != FLOAT_BITS:
                blocks = edges[tensor.name].index(tensor.shape[1]) + 1
                size += packed_length(count, student.bits) + 4 * tensor.shape[0] * blocks
            else:
                size += 4 * count
        return size

    def to_bytes(self) -> bytes:
        """The same bytes for the same family on every run: one metadata entry, tensors sorted."""
        tensors: dict[str, NDArray[Any]] = {
            "public/codes": self.public.codes,
            "public/scales": self.public.scales,
            "logits": self.logits,
        }
        for kind in ("codes", "scales", "vectors", "floats"):
            tensors |= {f"{kind}/{name}": value for name, value in getattr(self, kind).items()}
        for index, student in enumerate(self.header.grid.students()):
            own = self.statistics[student]
            tensors |= {f"statistics/{index}/{name}": value for name, value in own.items()}
        return save(tensors, {"family": self.header.model_dump_json()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises VerificationFailed for what is not a family, whole and of its header's shapes."""
        try:
            header, tensors = _header(data), load(data)
            names = {name: value.shape for name, value in tensors.items()}
            if names != _shapes(header, names["public/codes"]):
                raise VerificationFailed("the family's tensors are not those of its header")
        except (
            safetensors.SafetensorError,
            ValidationError,
            Refusal,
            KeyError,
            ValueError,
        ) as error:
            raise VerificationFailed(f"not a family: {type(error).__name__}") from None

        def of(prefix: str) -> dict[str, NDArray[Any]]:
            return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}

        return cls(
            header=header,
            codes=of("codes/"),
            scales=of("scales/"),
            vectors=of("vectors/"),
            floats=of("floats/"),
            statistics={
                student: of(f"statistics/{index}/")
                for index, student in enumerate(header.grid.students())
            },
            public=PublicWindows(tensors["public/codes"], tensors["public/scales"]),
            logits=tensors["logits"],
        )


def _header(data: bytes) -> FamilyHeader:
    (length,) = struct.unpack_from("<Q", data.ljust(8, b"\0"))
    document = json.loads(data[8 : 8 + length])
    return FamilyHeader.model_validate_json(document["__metadata__"]["family"])


def _shapes(header: FamilyHeader, public: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a family with this header and public windows."""
    full = network(header.architecture)
    shapes: dict[str, tuple[int, ...]] = {
        "public/codes": (public[0], full.inputs, header.preprocessing.window),
        "public/scales": (full.inputs,),
        "logits": (public[0], full.classes),
    }
    edges = block_edges(header.architecture, header.grid.widths)
    for tensor in full.tensors():
        if tensor.role is Role.WEIGHT:
            shapes[f"codes/{tensor.name}"] = tensor.shape
            shapes[f"scales/{tensor.name}"] = (tensor.shape[0], len(edges[tensor.name]))
            if FLOAT_BITS in header.grid.bits:
                shapes[f"floats/{tensor.name}"] = tensor.shape
        elif tensor.role is Role.VECTOR:
            shapes[f"vectors/{tensor.name}"] = tensor.shape
    for index, student in enumerate(header.grid.students()):
        for tensor in network(header.architecture, student).tensors():
            if tensor.role is Role.STATISTIC:
                shapes[f"statistics/{index}/{tensor.name}"] = tensor.shape
    return shapes


def block_edges(
    architecture: ArchitectureSpec, widths: tuple[float, ...]
) -> dict[str, tuple[int, ...]]:
    """For each weight, the ends of the blocks of input channels that the widths add in turn."""
    full = network(architecture)
    edges: dict[str, set[int]] = {}
    for width in widths:
        depths = (full.blocks1, full.blocks2)
        student = Student(width=width, depths=depths, bits=8)
        for tensor in network(architecture, student).tensors():
            if tensor.role is Role.WEIGHT:
                edges.setdefault(tensor.name, set()).add(tensor.shape[1])
    return {name: tuple(sorted(found)) for name, found in edges.items()}
