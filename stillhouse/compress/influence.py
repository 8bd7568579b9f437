"""Ranks the blocks of each stage by what the network says without them: the last one goes first.

After ShortGPT (2403.03853), but by the outputs and not by how far a block turns its input: that
misses blocks that turn little and matter much (MiniLM's first).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stillhouse.compress.arch import Network
from stillhouse.compress.measure import BATCH
from stillhouse.compress.quantize import Floats


def rank_blocks(
    model: Network,
    natural: tuple[tuple[int, ...], ...],
    x: Floats,
    *,
    embeds: bool,
    device: str = "cpu",
) -> tuple[tuple[int, ...], ...]:
    """Of each stage its blocks, the one to keep longest first; `natural` are all of them.

    Greedy: again and again the block goes without which the outputs on `x` (standardised windows)
    differ least from the whole network's, those before it already gone. Blocks that no student can
    lack come first. Measured stage by stage, the others whole.
    """
    whole = _outputs(model, x, device)

    def loss(blocks: Iterable[nn.Module]) -> float:
        with skipping(blocks):
            return divergence(whole, _outputs(model, x, device), embeds=embeds)

    return tuple(
        _ranked(numbers, blocks, loss)
        for numbers, blocks in zip(natural, model.stage_blocks(), strict=True)
    )


def _ranked(
    numbers: tuple[int, ...],
    removable: Mapping[int, nn.Module],
    loss: Callable[[Iterable[nn.Module]], float],
) -> tuple[int, ...]:
    fixed = tuple(number for number in numbers if number not in removable)
    gone: list[int] = []
    while len(gone) < len(numbers) - max(1, len(fixed)):
        left = [number for number in removable if number not in gone]
        losses = {n: loss(removable[each] for each in (*gone, n)) for n in left}
        gone.append(min(left, key=lambda number: losses[number]))
    last = (number for number in removable if number not in gone)
    return (*fixed, *last, *reversed(gone))


def divergence(teacher: Tensor, student: Tensor, *, embeds: bool) -> float:
    """Mean KL(teacher || student) of logits, or 1 - cosine of features; both [windows, outputs]."""
    if embeds:
        return float(1 - F.cosine_similarity(teacher, student, dim=1).mean())
    parts = (F.log_softmax(student, 1), F.log_softmax(teacher, 1))
    return float(F.kl_div(*parts, reduction="batchmean", log_target=True))


@contextmanager
def skipping(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, these blocks hand on their first input."""
    hooks = [block.register_forward_hook(lambda _, inputs, __: inputs[0]) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _outputs(model: nn.Module, x: Floats, device: str) -> Tensor:
    model.eval()
    return torch.cat([model(part.to(device)).cpu() for part in torch.from_numpy(x).split(BATCH)])
