"""Residual networks as torch modules: over time (1-D) and over images (2-D)."""

from collections.abc import Iterator, Mapping
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from stillhouse.compress.groups import ChannelGroup
from stillhouse.compress.residual_layout import ResNet1d, ResNet2d

CONVOLUTIONS: Mapping[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
NORMS: Mapping[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


class Unit(nn.Module):
    """Convolution without bias, batch norm."""

    def __init__(self, axes: int, inputs: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = CONVOLUTIONS[axes](
            inputs, channels, kernel, stride, kernel // 2, bias=False
        )
        self.norm = NORMS[axes](channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.convolution(x))
        return y


class Block(nn.Module):
    """Two units around a shortcut; the first block of a stage halves time and changes channels."""

    def __init__(self, axes: int, inputs: int, channels: int, kernel: int, first: bool) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.first = Unit(axes, inputs, channels, kernel, stride)
        self.second = Unit(axes, channels, channels, kernel, 1)
        self.shortcut: nn.Module = nn.Identity()
        if first:
            self.shortcut = CONVOLUTIONS[axes](inputs, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """Logits [batch, classes] of windows [batch, inputs, samples]."""

    def __init__(self, shape: ResNet1d) -> None:
        super().__init__()
        self.image = (shape.rows, shape.columns) if isinstance(shape, ResNet2d) else None
        axes = len(shape.window(1))
        self.stem = Unit(axes, shape.inputs, shape.channels1, shape.kernel, shape.stride)
        stages, inputs = [], shape.channels1
        for channels, blocks in shape.stages:
            stage: dict[str, nn.Module] = {}
            for number in blocks:
                stage[str(number)] = Block(axes, inputs, channels, shape.kernel, number == 0)
                inputs = channels
            stages.append(nn.ModuleDict(stage))
        self.stages = nn.ModuleList(stages)
        self.dropout = nn.Dropout(0.0)  # the owner's training alone turns it up
        self.head = nn.Linear(inputs, shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.image is not None:
            x = x.unflatten(2, self.image)
        x = F.relu(self.stem(x))
        for block in self.blocks():
            x = block(x)
        y: Tensor = self.head(self.dropout(x.flatten(2).mean(2)))
        return y

    def blocks(self) -> Iterator[Block]:
        """In the order in which they compute."""
        for stage in self._stages():
            yield from stage.values()

    def _stages(self) -> Iterator[dict[int, Block]]:
        for stage in self.stages:
            named = cast("nn.ModuleDict", stage).items()
            yield {int(name): cast("Block", block) for name, block in named}

    def stage_blocks(self) -> tuple[Mapping[int, nn.Module], ...]:
        """Of each stage, the blocks that could be left out: those whose output is like their input,
        by their number in the full network."""
        return tuple(
            {number: block for number, block in stage.items() if number} for stage in self._stages()
        )

    def ladder(self) -> tuple[nn.Module, ...]:
        """What training can leave frozen from the front, in the order in which it computes."""
        return (self.stem, *self.blocks())

    def channel_groups(self) -> Iterator[ChannelGroup]:
        """The stem, each stage's residual stream, each block's inside."""
        writers: tuple[nn.Module, ...] = (self.stem.convolution, self.stem.norm)
        readers: list[nn.Module] = []
        for stage in self._stages():
            blocks = list(stage.values())
            readers += [blocks[0].first.convolution, blocks[0].shortcut]
            yield ChannelGroup(writers, tuple(readers))
            writers, readers = (blocks[0].shortcut,), []
            for index, block in enumerate(blocks):
                inside = (block.first.convolution, block.first.norm)
                yield ChannelGroup(inside, (block.second.convolution,))
                writers += (block.second.convolution, block.second.norm)
                if index:
                    readers.append(block.first.convolution)
        yield ChannelGroup(writers, (self.head, *readers))
