"""The wrist recordings and who is who: five central people, two public, three clients, by seed.

The watch knows its wrist, so each recording comes in one canonical side. A client trains on the
recordings of one arm; the first 40 % of the other arm's are its validation, and after a guard of
one second the rest is the test, which only the demo's harness reads. Cutting inside the same
recordings would leak (WRIST).
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stillhouse.compress.recordings import Recordings

FILE = Path(__file__).with_name("wrist.parquet")
AXES = ("ax", "ay", "az", "wx", "wy", "wz")
MIRROR = np.array((-1, 1, 1, 1, -1, -1), np.float32)  # a left wrist seen as a right one
PEOPLE, CENTRAL, PUBLIC = 10, 5, 2
GUARD = 50  # samples: one second
VALIDATION_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class WristData:
    """All recordings, canonical; `arms` [recordings] is the wrist of each (0 or 1)."""

    recordings: Recordings
    arms: NDArray[np.int64]
    labels: tuple[str, ...]

    def of(self, people: tuple[int, ...]) -> Recordings:
        return self.recordings.select(np.isin(self.recordings.sources, people))


@dataclass(frozen=True, slots=True)
class People:
    """Who is who under one seed; ids as in the data."""

    central: tuple[int, ...]
    public: tuple[int, ...]
    clients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClientData:
    """A client's recordings; no rule of the product ever reads `test`."""

    train: Recordings
    validation: Recordings
    test: Recordings


@lru_cache(maxsize=1)
def read() -> WristData:
    """The whole file; nobody changes what it gives."""
    table = pq.read_table(FILE)
    metadata = table.schema.metadata
    scale = json.loads(metadata[b"scale"])
    samples = np.stack([table[a].to_numpy() * np.float32(scale[a]) for a in AXES], axis=1)
    owner, person, exercise, side = (
        table[name].to_numpy().astype(np.int64)
        for name in ("recording", "subject", "exercise", "side")
    )
    samples[side == 0] *= MIRROR
    cuts = np.flatnonzero(np.diff(owner)) + 1
    starts = np.append(0, cuts)
    spans = np.stack([starts, np.append(cuts, len(owner))], axis=1)
    recordings = Recordings(samples.astype(np.float32), spans, exercise[starts], person[starts])
    return WristData(recordings, side[starts], tuple(json.loads(metadata[b"exercise_names"])))


def people(seed: int) -> People:
    order = 1 + np.random.RandomState(seed).permutation(PEOPLE)  # the prototype's, to compare
    central, public, clients = np.split(order, (CENTRAL, CENTRAL + PUBLIC))
    return People(*(tuple(sorted(map(int, some))) for some in (central, public, clients)))


def client(data: WristData, person: int, seed: int) -> ClientData:
    """The recordings of one client; which arm trains depends on person and seed."""
    own = data.recordings.sources == person
    trained = data.arms == (person + seed) % 2
    other = data.recordings.select(own & ~trained)
    start, stop = other.spans.T
    cut = start + (VALIDATION_SHARE * (stop - start)).astype(np.int64)
    return ClientData(
        train=data.recordings.select(own & trained),
        validation=replace(other, spans=np.stack([start, cut], axis=1)),
        test=replace(other, spans=np.stack([cut + GUARD, stop], axis=1)),
    )
