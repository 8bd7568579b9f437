"""The owner of the demo: everything that the registration of a central model takes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from cluster.sources import code_digest
from edge_sim import wrist
from edge_sim.wrist import data
from edge_sim.wrist.central import EPOCHS, train_central
from stillhouse import compress
from stillhouse.compress.arch import build, load_weights, to_safetensors
from stillhouse.compress.measure import Score, evaluate
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.windows import PublicWindows
from stillhouse.entities import ArchitectureSpec, FamilyRecipe, Preprocessing, VectorAxes, digest_of

ARCHITECTURE = ArchitectureSpec(
    id="resnet1d",
    kwargs={
        "inputs": 6,
        "classes": 7,
        "channels1": 32,
        "channels2": 64,
        "blocks1": 3,
        "blocks2": 3,
        "kernel": 5,
    },
)
WINDOW, STEP = 100, 50  # samples: two seconds, half of it new
ROTATION_SD_RAD = 0.3
RECIPE = FamilyRecipe()  # what the system builds families with

Keep = Callable[[str, Callable[[], bytes]], bytes]  # key, how to make it -> what was kept or made


@dataclass(frozen=True, slots=True)
class Registration:
    """What an owner uploads: `weights` are safetensors, the three data sets are Parquet."""

    weights: bytes
    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    training: bytes
    transfer: bytes
    evaluation: bytes
    public_windows: bytes  # what every device installs once, at the factory

    def files(self) -> dict[str, bytes]:
        """What is uploaded, by the name of the file."""
        return {
            "weights": self.weights,
            "training": self.training,
            "transfer": self.transfer,
            "evaluation": self.evaluation,
        }


def prepare(
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
    epochs: int = EPOCHS,
    keep: Keep = lambda _, make: make(),
) -> Registration:
    """Trains the central model of `seed` (about 16 s on one thread) and gathers its data sets.

    `keep` may give back what an earlier run made under the same key.
    """
    everyone, who = data.read(), data.people(seed)
    training, public = everyone.of(who.central), everyone.of(who.public)
    pre = preprocessing(training)

    def train() -> bytes:
        return to_safetensors(train_central(ARCHITECTURE, training, pre, seed, progress, epochs))

    return Registration(
        weights=keep(weights_key(seed, epochs), train),
        architecture=ARCHITECTURE,
        preprocessing=pre,
        labels=everyone.labels,
        training=training.to_parquet(),
        transfer=public.unlabelled().to_parquet(),
        evaluation=public.to_parquet(),
        public_windows=public_windows(public, pre),
    )


def weights_key(seed: int, epochs: int) -> str:
    """What the weights depend on: people, data, code, and the library that computed them."""
    recordings = hashlib.sha256(data.FILE.read_bytes()).hexdigest()
    return digest_of([seed, epochs, recordings, code_digest(wrist, compress), torch.__version__])


def public_windows(public: Recordings, pre: Preprocessing) -> bytes:
    """The windows that devices pre-install: the same that the family's behaviour is of."""
    windows, _, _ = public.windows(pre)
    return PublicWindows.choose(windows, RECIPE.public_windows).to_bytes()


def preprocessing(recordings: Recordings) -> Preprocessing:
    """Constants of the people in `recordings`; both sensors turn together."""
    rows = np.concatenate([recordings.samples[a:b] for a, b in recordings.spans]).astype(np.float64)
    return Preprocessing(
        window=WINDOW,
        step=STEP,
        mean=tuple(rows.mean(axis=0).tolist()),
        deviation=tuple(rows.std(axis=0).tolist()),
        vectors=(VectorAxes(axes=(0, 1, 2)), VectorAxes(axes=(3, 4, 5))),
        rotation_sd_rad=ROTATION_SD_RAD,
    )


def oracle(registration: Registration, recordings: Recordings) -> Score:
    """The central model on a client's recordings: for the harness alone, no rule may read it."""
    model = load_weights(build(registration.architecture), registration.weights)
    return evaluate(model, recordings, registration.preprocessing)
