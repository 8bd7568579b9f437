"""From an owner's data to a person's student: one real, short run with honest thresholds."""

import numpy as np
import pytest

from edge_sim.wrist import data, owner
from stillhouse.chunks import weights_chunks
from stillhouse.compress.behaviour import Behaviour, behaviour_chunk
from stillhouse.compress.container import Family
from stillhouse.compress.family import build_family
from stillhouse.compress.recordings import UNLABELLED, Recordings
from stillhouse.compress.slices import weights_chunk
from stillhouse.edge.train import accuracy, load_student, train
from stillhouse.entities import (
    BehaviourRecipe,
    CentralModelSpec,
    FamilyGrid,
    FamilyRecipe,
    Student,
    TrainingRecipe,
)

GRID = FamilyGrid(widths=(0.25, 1.0), depths=((1, 3), (1, 3)), bits=(4, 8))
SMALLEST = Student(width=0.25, depths=(1, 1), bits=4)


@pytest.fixture(scope="module")
def registration() -> owner.Registration:
    return owner.prepare(seed=0, epochs=6)


@pytest.fixture(scope="module")
def family(registration: owner.Registration) -> Family:
    spec = CentralModelSpec(
        architecture=registration.architecture,
        preprocessing=registration.preprocessing,
        labels=registration.labels,
        files={},
        family=FamilyRecipe(epochs=4),
    )
    sets = map(Recordings.from_parquet, (registration.training, registration.transfer))
    score = owner.oracle(registration, Recordings.from_parquet(registration.evaluation))
    registered = (score.accuracy, score.se)
    return build_family(registration.weights, spec, *sets, registered, GRID, seed=0)


def test_the_transfer_set_is_the_evaluation_set_without_its_labels(registration) -> None:
    transfer, evaluation = map(
        Recordings.from_parquet, (registration.transfer, registration.evaluation)
    )
    np.testing.assert_array_equal(transfer.samples, evaluation.samples)
    assert set(transfer.labels) == {UNLABELLED}
    assert set(evaluation.labels) == set(range(7))
    assert not set(evaluation.sources) & set(Recordings.from_parquet(registration.training).sources)


@pytest.mark.slow
def test_a_three_kilobyte_student_learns_its_person(registration, family) -> None:
    pre, architecture = registration.preprocessing, registration.architecture
    row = family.table.facts(SMALLEST)
    assert row.wire_bytes < 3_000
    assert row.agreement > 0.75
    chunks = [weights_chunk(family, r) for r in weights_chunks(family.table, SMALLEST)]
    behaviour = Behaviour.from_bytes(
        behaviour_chunk(family, BehaviourRecipe(top_k=2, first=0, count=len(family.public)))
    )
    gains, scores = [], []
    for person in data.people(0).clients:
        client = data.client(data.read(), person, 0)
        model = load_student(architecture, SMALLEST, chunks)
        before = accuracy(model, client.test, pre, seed=0).accuracy
        recipe = TrainingRecipe(steps=120, seed=0)
        train(model, client.train, client.validation, pre, recipe, family.public, behaviour)
        scores.append(accuracy(model, client.test, pre, seed=0).accuracy)
        gains.append(scores[-1] - before)
    assert np.mean(scores) > 0.8
    assert np.mean(gains) > -0.02
