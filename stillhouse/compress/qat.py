"""Quantisation-aware training: weights are rounded to the family's grid in the forward pass.

The gradient passes straight through (1308.3432).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from stillhouse.compress.quantize import Floats


class FakeQuantised(nn.Module):
    """Rounds a weight to the family's grid; the gradient passes as if it did not."""

    step: Tensor
    middle: int

    def __init__(self, step: Floats, bits: int) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(step), persistent=False)
        self.middle = 2 ** (bits - 1)

    def forward(self, weight: Tensor) -> Tensor:
        code = (weight.detach() / self.step).floor().clamp(-self.middle, self.middle - 1)
        return weight + ((code + 0.5) * self.step - weight.detach())


def quantisation_aware(model: nn.Module, steps: Mapping[str, Floats], bits: int) -> None:
    """Rounds the weights named in `steps`, each by its own step, wherever `model` computes."""
    for name, step in steps.items():
        module = model.get_submodule(name.removesuffix(".weight"))
        register_parametrization(module, "weight", FakeQuantised(step, bits))
