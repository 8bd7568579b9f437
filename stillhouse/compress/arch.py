"""Modules from architectures as data, and weights from safetensors: nothing foreign is ever run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import nn, tensor

from stillhouse.compress.architectures import network
from stillhouse.compress.encoder import TextEncoder
from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.foreign import foreign
from stillhouse.compress.quantize import Floats
from stillhouse.compress.residual import ResNet
from stillhouse.compress.residual_layout import ResNet1d, ResNet2d
from stillhouse.entities import ArchitectureSpec, Student
from stillhouse.errors import Invalid, UnsupportedFormat

HEADER_BYTES = 1 << 20  # more than the names and shapes of any allow-listed network need

Network = ResNet | TextEncoder  # any allow-listed network
MODULES: Mapping[type, Any] = {ResNet1d: ResNet, ResNet2d: ResNet, Encoder: TextEncoder}


def build(spec: ArchitectureSpec, student: Student | None = None) -> Network:
    """The central model at full size, or one of its students; weights are torch's defaults.

    Raises UnsupportedFormat for an id that is not on the list, Invalid for wrong arguments.
    """
    shape = network(spec, student)
    made: Network = MODULES[type(shape)](shape)
    return made


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
    if (reason := foreign(data)) is not None:
        raise UnsupportedFormat(reason)
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
    model.load_state_dict({k: tensor(v) for k, v in tensors.items()}, strict=False)
    return model
