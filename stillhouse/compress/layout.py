"""Architectures as data: the tensors of a network by name, shape and role; no torch.

An allow-listed id and its keyword arguments say everything (`architectures.py` has the list), and
the module with that id has exactly these tensors. A student keeps the first channels of each tensor
and some blocks of each stage, so the tensors of a smaller student are corners of a larger one's.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any, Self

from pydantic import Field

from stillhouse.entities import Entity, Student
from stillhouse.errors import Invalid


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


class Network(Entity):
    """What all architectures have in common: their arguments are fields.

    `kept` blocks of a stage are the first of its ranking, in the order in which they compute.
    """

    multiple: int = Field(
        default=1, ge=1, le=256, description="narrowed channels are whole multiples of this"
    )

    @property
    @abstractmethod
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""

    @property
    @abstractmethod
    def rankings(self) -> tuple[tuple[int, ...], ...]:
        """Of each stage, its blocks in the full network, the one to keep longest first."""

    @property
    @abstractmethod
    def axes(self) -> int:
        """Of one input [axes, samples]."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Classes, or features."""

    @property
    @abstractmethod
    def embeds(self) -> bool:
        """Whether its outputs are features instead of logits."""

    @abstractmethod
    def tensors(self) -> tuple[TensorLayout, ...]:
        """In the order in which they travel."""

    @abstractmethod
    def _narrower(self, width: float) -> Mapping[str, Any]:
        """The arguments that a share of the channels changes."""

    @abstractmethod
    def _shallower(self, depths: tuple[int, ...]) -> Mapping[str, Any]:
        """The arguments that other depths change."""

    @abstractmethod
    def ranked(self, rankings: tuple[tuple[int, ...], ...]) -> Self:
        """The same full network with other rankings."""

    def check_windows(self, window: int, *, discrete: bool) -> None:  # noqa: ARG002
        """Invalid unless it computes on inputs of `window` samples, ids if they are discrete."""
        if discrete:
            raise Invalid("this architecture takes numbers, and the preprocessing has ids")

    def narrowed(self, student: Student) -> Self:
        """The arguments of `student`; Invalid if it is no corner of this network."""
        depths = self.depths
        if len(student.depths) != len(depths):
            raise Invalid(f"{len(depths)} stages, not {len(student.depths)}")
        if not all(1 <= d <= b for d, b in zip(student.depths, depths, strict=True)):
            raise Invalid(f"depths {student.depths} are not within {depths}")
        update = {**self._narrower(student.width), **self._shallower(student.depths)}
        return self.model_copy(update=update)

    def share(self, channels: int, width: float) -> int:
        """`width` of `channels`, rounded up to the multiple, but never more than there are."""
        exact = round(channels * width, 6)
        return min(channels, ceil(exact / self.multiple) * self.multiple)


def kept(ranking: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """The blocks that a stage of `depth` keeps, in the order in which they compute."""
    return tuple(sorted(ranking[:depth]))


def whole_ranking(ranking: tuple[int, ...], blocks: int) -> tuple[int, ...]:
    """`ranking`, or the natural one where none is given."""
    return ranking or tuple(range(blocks))
