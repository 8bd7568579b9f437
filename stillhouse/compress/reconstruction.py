"""Makes up for the layers that an encoder lacks, in closed form, before any training.

Each layer that is left should give what the whole encoder gives before the next one that is left.
That is linear in the last weight before a norm, so ridge regression on a few hundred unlabelled
texts finds it, layer after layer: least-squares reconstruction (1707.06168) for dropped layers, as
in ReplaceMe (2505.02819). The ridge pulls towards the weights as they are.
"""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from stillhouse.compress.encoder import FeedForward, Layer, TextEncoder

BATCH = 64  # texts
RIDGE = 0.3  # of the mean of the Gram matrix's diagonal


@torch.no_grad()
def reconstruct(model: TextEncoder, kept: Sequence[int], x: Tensor, ridge: float = RIDGE) -> None:
    """Changes the `kept` layers of `model` so that they alone say what it says now.

    `x` are texts [texts, 1, tokens]. Layers before the first gap stay as they are.
    """
    parts = x.split(BATCH)
    masks = [model.mask(part) for part in parts]
    wanted = [model.embedded(part) for part in parts]
    hidden, done, missed = list(wanted), 0, False
    for number, stop in spans(kept, len(model.layers)):
        for passed in range(done, stop):  # all of them before any is changed
            wanted = _through(model, passed, wanted, masks)
        missed |= stop - done > 1
        if missed:
            layer = _layer(model, number)
            inside = [layer.attention(h, m) for h, m in zip(hidden, masks, strict=True)]
            _fit(layer.feed_forward, inside, wanted, masks, ridge)
        hidden, done = _through(model, number, hidden, masks), stop


def spans(kept: Sequence[int], layers: int) -> Iterator[tuple[int, int]]:
    """Each kept layer, and the end of those that it stands for: the next kept one, or the last."""
    return zip(kept, (*kept[1:], layers), strict=True)


def _layer(model: TextEncoder, number: int) -> Layer:
    return cast(Layer, model.layers[str(number)])


def _through(
    model: TextEncoder, number: int, hidden: list[Tensor], masks: list[Tensor]
) -> list[Tensor]:
    layer = _layer(model, number)
    return [layer(h, m) for h, m in zip(hidden, masks, strict=True)]


def _fit(
    layer: FeedForward,
    inputs: list[Tensor],
    wanted: list[Tensor],
    masks: list[Tensor],
    ridge: float,
) -> None:
    """Sets the second weight and bias so that the layer's outputs come close to `wanted`."""
    size, hidden = layer.second.in_features + 1, layer.second.out_features
    gram, target = torch.zeros(size, size), torch.zeros(size, hidden)
    for x, y, mask in zip(inputs, wanted, masks, strict=True):
        inside = F.gelu(layer.first(x[mask]))
        sums = x[mask] + layer.second(inside)  # what the norm sees
        inside = F.pad(inside, (0, 1), value=1.0)  # for the bias
        gram = gram + inside.T @ inside
        target = target + inside.T @ (_before_norm(y[mask], sums, layer.norm) - sums)
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    change = torch.linalg.solve(gram, target)
    layer.second.weight.add_(change[:-1].T)
    layer.second.bias.add_(change[-1])


def _before_norm(wanted: Tensor, sums: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    """What the norm would have to see to give `wanted`, with mean and deviation of `sums`."""
    plain = (wanted - norm.bias) / norm.weight
    plain = (plain - plain.mean(1, keepdim=True)) / plain.std(1, keepdim=True)
    return plain * sums.std(1, keepdim=True) + sums.mean(1, keepdim=True)
