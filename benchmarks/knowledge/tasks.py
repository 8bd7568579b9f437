"""A task: a central model with its data sets and clients, of any kind of data; made from a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stillhouse.compress.architectures import network
from stillhouse.compress.recordings import Recordings
from stillhouse.entities import CentralModelSpec, FamilyGrid

Keep = Callable[[str, Callable[[], bytes]], bytes]  # what, how to make it -> what was kept or made


@dataclass(frozen=True, slots=True)
class Client:
    """A person: what its device trains on, what it measures itself on, and what it never sees."""

    train: Recordings
    validation: Recordings
    test: Recordings


@dataclass(frozen=True, slots=True)
class Task:
    """Sources are disjoint between the five data sets.

    `registered` is accuracy and standard error on `evaluation`; `test` is of nobody in particular.
    """

    name: str
    seed: int
    spec: CentralModelSpec
    weights: bytes
    grid: FamilyGrid
    training: Recordings | None
    transfer: Recordings
    evaluation: Recordings
    test: Recordings
    clients: tuple[Client, ...]

    @property
    def embeds(self) -> bool:
        return network(self.spec.architecture).embeds


def of_windows(x: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> Recordings:
    """Recordings of one window each; x [windows, axes, samples] in physical units."""
    count, axes, samples = x.shape
    starts = np.arange(count) * samples
    return Recordings(
        samples=np.ascontiguousarray(x.transpose(0, 2, 1).reshape(count * samples, axes), "f4"),
        spans=np.stack([starts, starts + samples], axis=1),
        labels=labels.astype(np.int64),
        sources=sources.astype(np.int64),
    )
