"""Sorts channels by importance, so that a narrow student begins with those that matter most."""

import torch
from torch import Tensor, nn

from stillhouse.compress.arch import ChannelGroup, Network, channel_groups
from stillhouse.compress.measure import logits
from stillhouse.compress.quantize import Floats


@torch.no_grad()
def sort_channels(model: Network, x: Floats, device: str = "cpu") -> None:
    """Orders each group's channels by mean |activation| times the sum of the readers' |weights|.

    After Minitron (2407.14679). `x` are standardised windows; `model` computes the same as before.
    """
    groups = list(channel_groups(model))
    for group, activation in zip(groups, _activations(model, groups, x, device), strict=True):
        weights = [reader.get_parameter("weight").transpose(0, 1) for reader in group.readers]
        read = torch.stack([w.abs().flatten(1).sum(1) for w in weights]).sum(0)
        _reorder(group, (activation * read).argsort(descending=True))


def _activations(
    model: nn.Module, groups: list[ChannelGroup], x: Floats, device: str
) -> list[Tensor]:
    """Mean magnitude of each channel of each group, over windows and time."""
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[module] = inputs[0].abs().transpose(0, 1).flatten(1).mean(1)

    readers = [group.readers[0] for group in groups]
    hooks = [reader.register_forward_pre_hook(keep) for reader in readers]
    logits(model, x, device)
    for hook in hooks:
        hook.remove()
    return [found[reader] for reader in readers]


def _reorder(group: ChannelGroup, order: Tensor) -> None:
    for writer in group.writers:
        for tensor in (*writer.parameters(), *writer.buffers()):
            if tensor.ndim:  # all but a batch norm's counter
                tensor.copy_(tensor[order])
    for reader in group.readers:
        weight = reader.get_parameter("weight")
        weight.copy_(weight[:, order])
