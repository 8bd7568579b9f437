"""Modules from architectures as data, and weights from safetensors: nothing foreign is ever run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from stillhouse.compress import layout
from stillhouse.compress.quantize import Floats
from stillhouse.entities import ArchitectureSpec, Student
from stillhouse.errors import Invalid, UnsupportedFormat

HEADER_BYTES = 1 << 20  # more than the names and shapes of any allow-listed network need


class Unit(nn.Module):
    """Convolution without bias, batch norm."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.convolution(x))
        return y


class Block(nn.Module):
    """Two units around a shortcut; the first block of a stage halves time and changes channels."""

    def __init__(self, inputs: int, channels: int, kernel: int, first: bool) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.first = Unit(inputs, channels, kernel, stride)
        self.second = Unit(channels, channels, kernel, 1)
        self.shortcut: nn.Module = nn.Identity()
        if first:
            self.shortcut = nn.Conv1d(inputs, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet1d(nn.Module):
    """Logits [batch, classes] of windows [batch, inputs, samples]."""

    def __init__(self, shape: layout.ResNet1d) -> None:
        super().__init__()
        self.stem = Unit(shape.inputs, shape.channels1, shape.kernel, 2)
        stages, inputs = [], shape.channels1
        for channels, blocks in (
            (shape.channels1, shape.blocks1),
            (shape.channels2, shape.blocks2),
        ):
            inner = [Block(channels, channels, shape.kernel, False) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(Block(inputs, channels, shape.kernel, True), *inner))
            inputs = channels
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(0.0)  # the owner's training alone turns it up
        self.head = nn.Linear(inputs, shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.dropout(self.stages(F.relu(self.stem(x))).mean(2)))
        return y


Network = ResNet1d  # any allow-listed network
MODULES = {layout.ResNet1d: ResNet1d}


def build(spec: ArchitectureSpec, student: Student | None = None) -> Network:
    """The central model at full size, or one of its students; weights are torch's defaults.

    Raises UnsupportedFormat for an id that is not on the list, Invalid for wrong arguments.
    """
    shape = layout.network(spec, student)
    return MODULES[type(shape)](shape)


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that must keep one order: who writes them, and who reads them.

    `writers` are modules with such outputs, `readers` with such inputs; the readers' common input
    is that of `readers[0]`.
    """

    writers: tuple[nn.Module, ...]
    readers: tuple[nn.Module, ...]


def channel_groups(model: ResNet1d) -> Iterator[ChannelGroup]:
    """Every group of `model`: the stem, each stage's residual stream, each block's inside."""
    writers: tuple[nn.Module, ...] = (model.stem.convolution, model.stem.norm)
    readers: list[nn.Module] = []
    for stage in model.stages:
        blocks = [block for block in stage.modules() if isinstance(block, Block)]
        readers += [blocks[0].first.convolution, blocks[0].shortcut]
        yield ChannelGroup(writers, tuple(readers))
        writers, readers = (blocks[0].shortcut,), []
        for index, block in enumerate(blocks):
            inside = (block.first.convolution, block.first.norm)
            yield ChannelGroup(inside, (block.second.convolution,))
            writers += (block.second.convolution, block.second.norm)
            if index:
                readers.append(block.first.convolution)
    yield ChannelGroup(writers, (model.head, *readers))


def weights_of(model: nn.Module) -> dict[str, Floats]:
    """Every float tensor of the state by name; counters of batch norms are not part of a model."""
    state = model.state_dict()
    return {k: v.cpu().numpy().copy() for k, v in state.items() if v.is_floating_point()}


def to_safetensors(model: nn.Module) -> bytes:
    return save(weights_of(model))


def load_weights(model: Network, data: bytes) -> Network:
    """Fills `model` with safetensors `data`, exactly its float32 tensors, and returns it.

    Raises UnsupportedFormat if `data` is no safetensors file, Invalid if it is another model's.
    """
    own = weights_of(model)
    if len(data) > HEADER_BYTES + sum(value.nbytes for value in own.values()):
        raise Invalid("more bytes than the architecture has")
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:
        raise UnsupportedFormat(f"not a safetensors file: {type(error).__name__}") from None
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in own.items()}:
        raise Invalid("tensors are not those of the architecture")
    if not all(v.dtype == np.float32 and np.isfinite(v).all() for v in tensors.values()):
        raise Invalid("a tensor that is not finite float32")
    return load_state(model, tensors)


def load_state(model: Network, tensors: Mapping[str, Floats]) -> Network:
    """Copies trusted `tensors` into `model`, all but the counters of batch norms."""
    model.load_state_dict({k: torch.tensor(v) for k, v in tensors.items()}, strict=False)
    return model
