"""What a network costs and how good it is: accuracy over people, operations, peak memory."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stillhouse.compress.arch import Network
from stillhouse.compress.groups import train_last
from stillhouse.compress.losses import centroid_logits, centroids_of
from stillhouse.compress.quantize import Floats
from stillhouse.compress.recordings import Integers, Recordings
from stillhouse.entities import Preprocessing
from stillhouse.errors import Invalid

BATCH = 256  # windows of one forward pass where only its result matters


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy, its standard error, and the number of windows."""

    accuracy: float
    se: float
    samples: int


@torch.no_grad()
def logits(model: nn.Module, x: Floats, device: str = "cpu") -> Floats:
    """[windows, classes] of standardised windows; leaves `model` in evaluation mode."""
    model.eval()
    parts = torch.from_numpy(x).split(BATCH)
    return torch.cat([model(part.to(device)).cpu() for part in parts]).numpy()


def evaluate(
    model: nn.Module,
    recordings: Recordings,
    pre: Preprocessing,
    device: str = "cpu",
    *,
    embeds: bool = False,
) -> Score:
    """Accuracy over windows, its standard error over sources: people differ, windows agree.

    A model that embeds is as accurate as the nearest centroid of the classes is right, where the
    centroids are of all other sources.
    """
    x, labels, owner = recordings.windows(pre)
    outputs, sources = logits(model, x, device), recordings.sources[owner]
    if not embeds:
        right = outputs.argmax(1) == labels
    else:
        right = np.empty(len(labels), bool)
        for source in np.unique(sources):
            here = sources == source
            found = nearest(outputs[here], outputs[~here], labels[~here])
            right[here] = found == labels[here]
    return Score(float(right.mean()), error_over(right, sources), len(right))


def nearest(features: Floats, support: Floats, labels: Integers) -> Integers:
    """The class of each of `features` [n, dims]: whose centroid has the largest cosine to it.

    `support` [m, dims] with its `labels` makes the centroids. Invalid if there is none.
    """
    if not len(support):
        raise Invalid("an embedding model is measured against the texts of other sources")
    classes = int(labels.max()) + 1
    parts = (torch.from_numpy(support), torch.from_numpy(labels), classes)
    found = centroid_logits(torch.from_numpy(features), centroids_of(*parts)).argmax(1)
    chosen: Integers = found.numpy()
    return chosen


def similarity(student: Floats, teacher: Floats, *, embeds: bool) -> float:
    """How much two models agree on the same windows: the share of the same answers, or the mean
    cosine of features; both outputs are [windows, outputs]."""
    if not embeds:
        return float((student.argmax(1) == teacher.argmax(1)).mean())
    cosines = F.cosine_similarity(torch.from_numpy(student), torch.from_numpy(teacher), dim=1)
    return max(0.0, float(cosines.mean()))


def error_over(right: NDArray[np.bool_], sources: Integers) -> float:
    """Standard error of the mean over `sources`; over windows, too small, if there is only one."""
    groups = [right[sources == s].mean() for s in np.unique(sources)]
    if len(groups) == 1:
        groups = list(right.astype(float))
    return float(np.std(groups, ddof=min(1, len(groups) - 1)) / len(groups) ** 0.5)


@dataclass(frozen=True, slots=True)
class Operations:
    """Weighted layers, and multiply-accumulates of one inference."""

    layers: int
    macs: int


def operations(model: nn.Module, shape: tuple[int, ...]) -> Operations:
    """Of convolutions and linear layers on one input of `shape` (axes, samples)."""
    macs: list[int] = []

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        macs.append(module.get_parameter("weight")[0].numel() * output.numel())

    layers = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    logits(model, np.zeros((1, *shape), np.float32))
    for hook in hooks:
        hook.remove()
    return Operations(len(macs), sum(macs))


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of live storages that operations inside it made; torch has none for CPUs."""

    peak_bytes: int

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch names it without types
        self.peak_bytes = 0
        self._live_bytes = 0
        self._live: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if storage._cdata not in given | self._live:  # neither a view nor in place
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._live.add(key)
        weakref.finalize(storage, self._drop, key, size)
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)

    def _drop(self, key: int, size: int) -> None:
        self._live.discard(key)
        self._live_bytes -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def activation_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Peak of live float32 activations at batch 1, the input among them."""
    x, memory = torch.zeros(1, *shape), PeakMemory()
    with torch.no_grad(), memory:
        model.eval()(x)
    return memory.peak_bytes + int(x.nbytes)


def training_bytes(model: Network, shape: tuple[int, ...], batch: int, share: float) -> int:
    """Peak of one step in which `share` of the blocks train, the last first, and the head.

    Counted: weights, the optimiser's momentum, gradients, and what backward needs of `batch`
    inputs. Batch norms keep their statistics, as they do on a device.
    """
    x, memory = torch.zeros(batch, *shape), PeakMemory()
    trained = train_last(model.eval(), share)
    with memory:
        F.cross_entropy(model(x), torch.zeros(batch, dtype=torch.long)).backward()
    model.zero_grad()
    train_last(model, 1.0)
    weights = sum(int(p.nbytes) for p in model.parameters())
    momentum = sum(int(p.nbytes) for p in trained)
    return memory.peak_bytes + int(x.nbytes) + weights + momentum
