"""What every allow-listed network tells of itself: groups of channels, blocks, a ladder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that must keep one order: who writes them, and who reads them.

    `writers` are modules with such outputs, `readers` with such inputs; the readers' common input
    is that of `readers[0]`. `unit` channels move together (the size of an attention head).
    """

    writers: tuple[nn.Module, ...]
    readers: tuple[nn.Module, ...]
    unit: int = 1


class Structured(Protocol):
    """An allow-listed network."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """Every group, each once."""
        ...

    def stage_blocks(self) -> tuple[Mapping[int, nn.Module], ...]:
        """Of each stage, the blocks that could be left out, by their number in the full network."""
        ...

    def ladder(self) -> tuple[nn.Module, ...]:
        """What training can leave frozen from the front, in the order in which it computes."""
        ...


def train_last(model: nn.Module, share: float) -> list[nn.Parameter]:
    """Leaves `share` of the ladder trainable, the last rungs first, and all that is not on it (the
    head); the parameters that train."""
    ladder = model.ladder()  # type: ignore[operator]  # every allow-listed network has one
    frozen = ladder[: len(ladder) - ceil(share * len(ladder))]
    model.requires_grad_(True)
    for rung in frozen:
        rung.requires_grad_(False)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
