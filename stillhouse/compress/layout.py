"""Architectures as data: the tensors of a network by name, shape and role; no torch.

An allow-listed id and its keyword arguments say everything; `arch.py` builds the module whose state
has exactly these tensors. A student keeps the first channels and the first blocks, so the tensors
of a smaller student are corners of those of a larger one.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, ValidationError

from stillhouse.entities import ArchitectureSpec, Entity, Student
from stillhouse.errors import Invalid, UnsupportedFormat


class Role(StrEnum):
    """How a tensor travels."""

    WEIGHT = "weight"  # quantised; axes (output channel, input channel, ...)
    VECTOR = "vector"  # float, shared by all students
    STATISTIC = "statistic"  # float, each student's own


@dataclass(frozen=True, slots=True)
class TensorLayout:
    name: str
    shape: tuple[int, ...]
    role: Role


class ResNet1d(Entity):
    """A residual network over time: a strided stem, two stages of blocks, mean pool, linear."""

    inputs: int = Field(default=6, ge=1, le=1024)
    classes: int = Field(default=7, ge=2, le=1 << 16)
    channels1: int = Field(default=32, ge=1, le=4096)
    channels2: int = Field(default=64, ge=1, le=4096)
    blocks1: int = Field(default=3, ge=1, le=64)
    blocks2: int = Field(default=3, ge=1, le=64)
    kernel: Literal[1, 3, 5, 7, 9, 11] = 5

    def narrowed(self, student: Student) -> Self:
        """The arguments of `student`; Invalid if it is no corner of this network."""
        channels = (self.channels1 * student.width, self.channels2 * student.width)
        blocks = (self.blocks1, self.blocks2)
        if not all(c >= 1 and c == int(c) for c in channels):
            raise Invalid(f"width {student.width:g} leaves no whole number of channels")
        if len(student.depths) != len(blocks):
            raise Invalid(f"{len(blocks)} stages, not {len(student.depths)}")
        if not all(1 <= d <= b for d, b in zip(student.depths, blocks, strict=True)):
            raise Invalid(f"depths {student.depths} are not within {blocks}")
        update = zip(
            ("channels1", "channels2", "blocks1", "blocks2"),
            (*map(int, channels), *student.depths),
            strict=True,
        )
        return self.model_copy(update=dict(update))

    def tensors(self) -> tuple[TensorLayout, ...]:
        """In the order in which they travel."""
        found = _unit("stem", self.channels1, self.inputs, self.kernel)
        inputs = self.channels1
        for stage, (channels, blocks) in enumerate(
            ((self.channels1, self.blocks1), (self.channels2, self.blocks2))
        ):
            for block in range(blocks):
                name = f"stages.{stage}.{block}"
                found += _unit(f"{name}.first", channels, inputs, self.kernel)
                found += _unit(f"{name}.second", channels, channels, self.kernel)
                if block == 0:
                    shape = (channels, inputs, 1)
                    found.append(TensorLayout(f"{name}.shortcut.weight", shape, Role.WEIGHT))
                inputs = channels
        found.append(TensorLayout("head.weight", (self.classes, inputs), Role.WEIGHT))
        found.append(TensorLayout("head.bias", (self.classes,), Role.VECTOR))
        return tuple(found)


def _unit(name: str, channels: int, inputs: int, kernel: int) -> list[TensorLayout]:
    """A convolution without bias and its batch norm."""
    norm = (
        ("weight", Role.VECTOR),
        ("bias", Role.VECTOR),
        ("running_mean", Role.STATISTIC),
        ("running_var", Role.STATISTIC),
    )
    return [
        TensorLayout(f"{name}.convolution.weight", (channels, inputs, kernel), Role.WEIGHT),
        *(TensorLayout(f"{name}.norm.{part}", (channels,), role) for part, role in norm),
    ]


ARCHITECTURES = {"resnet1d": ResNet1d}


def network(spec: ArchitectureSpec, student: Student | None = None) -> ResNet1d:
    """The network of `spec`, narrowed to `student`.

    Raises UnsupportedFormat for an id that is not on the list, Invalid for wrong arguments.
    """
    try:
        full = ARCHITECTURES[spec.id].model_validate(spec.kwargs)
    except KeyError:
        raise UnsupportedFormat(f"no architecture {spec.id!r}") from None
    except ValidationError as error:
        raise Invalid(f"arguments of {spec.id}: {error.errors()[0]['msg']}") from None
    return full if student is None else full.narrowed(student)
