"""Does logit standardisation pay on this central model's data? Measured, when its family is built.

It did on digits and did not on the wrist data (ALGORITHMS E, WRIST), so no default is right.
"""

from dataclasses import replace

import numpy as np

from stillhouse.chunks import weights_chunks
from stillhouse.compress.architectures import network
from stillhouse.compress.behaviour import Behaviour, behaviour_chunk
from stillhouse.compress.container import Family
from stillhouse.compress.quantize import FLOAT_BITS
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.slices import weights_chunk
from stillhouse.edge.train import load_student, train
from stillhouse.entities import (
    BehaviourRecipe,
    CentralModelSpec,
    Student,
    TrainingRecipe,
)
from stillhouse.errors import Invalid

PEOPLE = 3  # of the owner's training set, who stand for clients
STEPS = 80
SPARE_WINDOWS = 64  # a person with fewer on either side says too little


def with_measured_recipe(
    family: Family, spec: CentralModelSpec, training: Recordings | None, seed: int
) -> Family:
    """The family with the owner's training recipe; `standardise`, where the owner left it open, as
    a middling student trains better on the owner's own people."""
    if spec.standardise is not None:
        pays = spec.standardise
    elif training is None or network(spec.architecture).embeds:
        pays = spec.training.standardise
    else:
        pays = standardising_pays(family, training, seed)
    recipe = spec.training.model_copy(update={"standardise": pays})
    return replace(family, header=family.header.model_copy(update={"training": recipe}))


def standardising_pays(family: Family, training: Recordings, seed: int) -> bool:
    """Whether the mean accuracy of PEOPLE after training gains more than its standard error."""
    gains = []
    for person in people(training, seed):
        half = np.arange(len(person)) % 2 == 0
        sides = person.select(half), person.select(~half)
        try:
            plain, standardised = (_trained(family, sides, seed, each) for each in (False, True))
        except Invalid:  # too few windows or labels to train on
            continue
        gains.append(standardised - plain)
    if len(gains) < PEOPLE:
        return False
    return bool(np.mean(gains) > np.std(gains, ddof=1) / len(gains) ** 0.5)


def people(training: Recordings, seed: int) -> list[Recordings]:
    """Recordings of PEOPLE disjoint groups of sources, as large as a client's."""
    sources = np.random.default_rng(seed).permutation(np.unique(training.sources))
    size = max(1, min(len(sources) // PEOPLE, 2 * SPARE_WINDOWS))
    groups = [sources[start : start + size] for start in range(0, PEOPLE * size, size)]
    return [training.select(np.isin(training.sources, group)) for group in groups]


def _trained(
    family: Family, sides: tuple[Recordings, Recordings], seed: int, standardise: bool
) -> float:
    """Accuracy of a middling student on the second side, after training on the first."""
    header, student = family.header, middling(family)
    chunks = [weights_chunk(family, each) for each in weights_chunks(family.table, student)]
    model = load_student(header.architecture, student, chunks)
    recipe = TrainingRecipe(
        **{**header.training.model_dump(), "steps": STEPS, "standardise": standardise}, seed=seed
    )
    behaviour = BehaviourRecipe(top_k=2, first=0, count=len(family.public))
    taught = Behaviour.from_bytes(behaviour_chunk(family, behaviour))
    pre = header.preprocessing
    return train(model, *sides, pre, recipe, family.public, taught).after.accuracy


def middling(family: Family) -> Student:
    """Of a middle width, shallow, and of the most bits that are quantised."""
    grid = family.header.grid
    bits = max((b for b in grid.bits if b < FLOAT_BITS), default=FLOAT_BITS)
    width = sorted(grid.widths)[len(grid.widths) // 2]
    shallow = tuple(map(min, grid.depths))
    return next(s for s in grid.students() if (s.width, s.depths, s.bits) == (width, shallow, bits))
