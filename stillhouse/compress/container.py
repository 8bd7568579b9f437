"""A family as it is stored: codes, scales and floats of all students in one safetensors container.

The container's only metadata entry is a `FamilyHeader` as JSON; its digest is the family's. numpy
alone, so that a compress task starts fast; `family.py` builds one.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import safetensors
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load, save

from stillhouse.compress.architectures import block_edges, network
from stillhouse.compress.layout import Role
from stillhouse.compress.quantize import (
    FLOAT_BITS,
    Codes,
    Floats,
    decode,
    high_planes,
    steps,
)
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import (
    ArchitectureSpec,
    Digest,
    Entity,
    FamilyGrid,
    FamilyTable,
    Fraction,
    Preprocessing,
    Student,
    StudentFacts,
    TrainingDefaults,
)
from stillhouse.errors import Refusal, UnsupportedFormat, VerificationFailed

EARLIER = (
    "this family was built by an earlier release and cannot be read: register its central model "
    "again, as a new version"
)


class FamilyHeader(Entity):
    """What a family says of itself beside its tensors."""

    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    grid: FamilyGrid
    registered_accuracy: Fraction
    registered_accuracy_se: Fraction
    rows: tuple[StudentFacts, ...] = Field(default=(), description="in the order of the grid")
    training: TrainingDefaults = TrainingDefaults()
    updates: Digest | None = Field(default=None, description="the family that it is an update of")
    update_share: Fraction = Field(default=1.0, description="bytes of a delta against its chunk")


@dataclass(frozen=True)
class Family:
    """The nested students of one central model version.

    `codes` uint8 and `scales` float32 by the name of a weight, `vectors` by the name of another
    shared tensor, all of the largest student; `floats` are the weights themselves, if the grid has
    students that are not quantised; `statistics` by student and name. All of it is what chunks can
    carry (`slices.rounded`, `quantize.LEVELS`), so that devices compute the same. `logits` float32
    [windows, outputs] are the central model's on `public`: logits, or features if it embeds.
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
            outputs=self.logits.shape[1],
            embeds=network(header.architecture).embeds,
            rows=header.rows,
            probes=header.grid.probes(),
            training=header.training,
            transfer_input_bytes=self.public.codes[:1].nbytes,
            updates=header.updates,
            update_share=header.update_share,
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
        """Raises VerificationFailed for what is not a family, whole and of its header's shapes;
        UnsupportedFormat for a family of an earlier release."""
        header = _header(data)
        try:
            tensors = load(data)
            names = {name: value.shape for name, value in tensors.items()}
            if names != _shapes(header, names["public/codes"]):
                raise VerificationFailed("the family's tensors are not those of its header")
        except (safetensors.SafetensorError, Refusal, KeyError, ValueError) as error:
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
    """UnsupportedFormat if it is of a release whose families had no training defaults."""
    try:
        (length,) = struct.unpack_from("<Q", data.ljust(8, b"\0"))
        document = json.loads(data[8 : 8 + length])
        header = json.loads(document["__metadata__"]["family"])
        if "training" not in header:
            raise UnsupportedFormat(EARLIER)
        return FamilyHeader.model_validate(header)
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationFailed(f"not a family: {type(error).__name__}") from None


def _shapes(header: FamilyHeader, public: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a family with this header and public windows."""
    full = network(header.architecture)
    shapes: dict[str, tuple[int, ...]] = {
        "public/codes": (public[0], full.axes, header.preprocessing.window),
        "public/scales": (full.axes,),
        "logits": (public[0], full.outputs),
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
