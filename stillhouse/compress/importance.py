"""Sorts channels by importance, so that a narrow student begins with those that matter most."""

import torch
from torch import Tensor, nn

from stillhouse.compress.arch import Network
from stillhouse.compress.groups import ChannelGroup
from stillhouse.compress.measure import logits
from stillhouse.compress.quantize import Floats

BY_TOKEN = (nn.Linear, nn.LayerNorm)  # channels are their inputs' last axis, not the second


@torch.no_grad()
def sort_channels(model: Network, x: Floats, device: str = "cpu") -> None:
    """Orders each group's channels by mean |activation| times the sum of the readers' |weights|.

    After Minitron (2407.14679). `x` are standardised windows; `model` computes the same as before.
    """
    groups = list(model.channel_groups())
    for group, activation in zip(groups, _activations(model, groups, x, device), strict=True):
        weights = [_columns(reader) for reader in group.readers if _columns(reader) is not None]
        read = torch.stack([w.abs().flatten(1).sum(1) for w in weights if w is not None]).sum(0)
        _reorder(group, _order(activation * read, group.unit))


@torch.no_grad()
def sort_by_magnitude(model: Network) -> None:
    """Orders each group's channels by the L2 norm of what writes them (the classic of pruning)."""
    for group in model.channel_groups():
        norms = [
            w.get_parameter("weight").flatten(1).norm(dim=1) for w in group.writers if _writes(w)
        ]
        _reorder(group, _order(torch.stack(norms).norm(dim=0), group.unit))


def _writes(writer: nn.Module) -> bool:
    """Whether a row of its weight is a channel."""
    return writer.get_parameter("weight").ndim > 1 and not isinstance(writer, nn.Embedding)


def _order(score: Tensor, unit: int) -> Tensor:
    """The channels, the units with the highest scores first."""
    units = score.unflatten(0, (-1, unit)).sum(1).argsort(descending=True)
    channels: Tensor = units[:, None] * unit + torch.arange(unit, device=units.device)
    return channels.flatten()


def _columns(reader: nn.Module) -> Tensor | None:
    """[inputs, ...] of a reader's weight; None of a norm, which has a weight a channel."""
    weight = reader.get_parameter("weight")
    return weight.transpose(0, 1) if weight.ndim > 1 else None


def _activations(
    model: nn.Module, groups: list[ChannelGroup], x: Floats, device: str
) -> list[Tensor]:
    """Mean magnitude of each channel of each group, over windows and places."""
    found: dict[nn.Module, list[Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        axis = -1 if isinstance(module, BY_TOKEN) else 1
        mean = inputs[0].abs().movedim(axis, 0).flatten(1).mean(1)
        found.setdefault(module, []).append(mean * len(inputs[0]))

    readers = [group.readers[0] for group in groups]
    hooks = [reader.register_forward_pre_hook(keep) for reader in readers]
    logits(model, x, device)
    for hook in hooks:
        hook.remove()
    return [torch.stack(found[reader]).sum(0) / len(x) for reader in readers]


def _reorder(group: ChannelGroup, order: Tensor) -> None:
    for writer in group.writers:
        axis = 1 if isinstance(writer, nn.Embedding) else 0
        for tensor in (*writer.parameters(recurse=False), *writer.buffers(recurse=False)):
            if tensor.ndim:  # all but a batch norm's counter
                tensor.copy_(tensor.index_select(axis, order))
    for reader in group.readers:
        weight = reader.get_parameter("weight")
        if weight.ndim > 1:
            weight.copy_(weight[:, order])
