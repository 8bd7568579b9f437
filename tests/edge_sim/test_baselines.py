"""Baselines: each is what its name says, repeats itself, and knows what a profile has room for."""

from functools import lru_cache

import numpy as np
import pytest
import tiny
import torch

from edge_sim import baselines
from edge_sim.baselines import BASELINES, Bench, Case, owner_alone, owner_net
from edge_sim.scenario import Device, DeviceModel
from edge_sim.wrist.data import ClientData
from edge_sim.wrist.owner import Registration
from stillhouse.compress.arch import to_safetensors, weights_of
from stillhouse.compress.container import Family
from stillhouse.entities import ProfileSpec, TrainingRecipe

STUDENT = tiny.student(0.5, 1, 1, 4)
SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=1_000_000,
    storage_bytes=100_000,
    latency_p95_ms=50,
    max_accuracy_drop=0.9,
)
DEVICE = Device(
    name="watch",
    person=0,
    submit="after_model",
    feasible=True,
    profile=SPEC,
    model=DeviceModel(anchor_latency_ms=2, memory_bytes=2_000_000),
)
CASE = Case(
    seed=3,
    central_epochs=1,
    person=0,
    student=STUDENT,
    recipe=TrainingRecipe(steps=20, batch=16, seed=3),
    family_digest="f" * 64,
    device=DEVICE,
    calibration_ms=tuple((shape, 1.0 + shape.width) for shape in tiny.GRID.shapes()),
)
REGISTRATION = Registration(
    weights=tiny.central_weights(),
    architecture=tiny.ARCHITECTURE,
    preprocessing=tiny.PRE,
    labels=tiny.SPEC.labels,
    training=tiny.recordings(1).to_parquet(),
    transfer=tiny.recordings(2).unlabelled().to_parquet(),
    evaluation=tiny.recordings(2).to_parquet(),
    public_windows=b"",
)


class Tiny(Bench):
    """The same bench over the tiny data."""

    person = ClientData(tiny.recordings(5), tiny.recordings(6), tiny.recordings(7))


@lru_cache
def bench() -> Tiny:
    family: Family = tiny.family()
    return Tiny(CASE, REGISTRATION, family)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_repeats_itself_and_is_scored(name: str) -> None:
    first, second = BASELINES[name](bench()), BASELINES[name](bench())
    assert first == second
    assert first.name == name
    assert 0 <= first.accuracy <= 1
    assert first.memory_bytes > first.storage_bytes > 0


def test_the_students_size_is_that_of_its_bits_and_the_central_models_is_larger() -> None:
    found = {name: make(bench()) for name, make in BASELINES.items()}
    student = tiny.family().table.facts(STUDENT)
    assert found["without_behaviour"].storage_bytes == student.storage_bytes
    assert found["scratch"].storage_bytes < found["quantise_only"].storage_bytes
    assert found["quantise_only"].storage_bytes < found["central_personalised"].storage_bytes
    assert "int4" in found["quantise_only"].student


def test_the_same_student_takes_the_memory_that_the_familys_table_says() -> None:
    found = BASELINES["without_behaviour"](bench())
    [row] = [row for row in tiny.family().table.rows if row.student == STUDENT]
    assert (found.storage_bytes, found.memory_bytes) == (row.storage_bytes, row.memory_bytes)


def test_quantising_changes_weights_and_nothing_else() -> None:
    model, bits = bench().central(), 4
    before, spec = weights_of(model), tiny.ARCHITECTURE
    grids = baselines.grid_of(model, spec, None, bits)
    for name, step in grids.items():
        rounded = baselines.rounded(before[name], step, bits)
        assert len(np.unique(rounded[0] / step[0])) <= 2**bits
        assert np.abs(rounded - before[name]).max() <= step.max()
    assert set(grids) < set(before)


def test_a_random_choice_fits_in_size_and_tells_its_latency() -> None:
    found = BASELINES["random_fitting"](bench())
    assert found.latency_p95_ms is not None
    assert found.storage_bytes <= SPEC.storage_bytes
    tight = SPEC.model_copy(update={"latency_p95_ms": found.latency_p95_ms / 2})
    assert found.fits(SPEC)
    assert not found.fits(tight)


def test_the_owners_net_is_a_net_of_the_students_shape_and_learns_from_the_central_model() -> None:
    net = owner_net(REGISTRATION, STUDENT, seed=3)
    again = owner_net(REGISTRATION, STUDENT, seed=3)
    torch.testing.assert_close(net.state_dict(), again.state_dict())
    found = owner_alone(bench(), to_safetensors(net))
    assert found.student == str(STUDENT)
    assert found.storage_bytes < 1_000
