"""The limits of a profile: read, relaxed, held against a measurement, put in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import FAMILY, REGISTERED, Device

from stillhouse.entities import Constraint, ProfileSpec
from stillhouse.limits import (
    accuracy_floor,
    clearly_missed,
    in_words,
    lifted,
    limit,
    missed,
    rounded_up,
)

SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=64_000,
    storage_bytes=40_000,
    latency_p95_ms=3,
    max_accuracy_drop=0.03,
    energy_mj=6,
)
FLOOR = accuracy_floor(SPEC, REGISTERED)
REPORT = (
    Device(power_w=1.0)
    .report(FAMILY, FAMILY.rows[0].student, 1)
    .model_copy(update={"accuracy": 0.91, "latency_p95_ms": 3.0, "energy_mj": 6.0})
)


def test_a_measurement_at_every_limit_misses_none():
    assert missed(SPEC, FLOOR, REPORT) == ()


@pytest.mark.parametrize(
    ("constraint", "update"),
    [
        (Constraint.STORAGE, {"storage_bytes": 40_001}),
        (Constraint.MEMORY, {"peak_memory_bytes": 64_001}),
        (Constraint.LATENCY, {"latency_p95_ms": 3.001}),
        (Constraint.ACCURACY, {"accuracy": 0.9099}),
        (Constraint.ENERGY, {"energy_mj": 6.001}),
    ],
)
def test_each_limit_can_be_missed_alone(constraint, update):
    assert missed(SPEC, FLOOR, REPORT.model_copy(update=update)) == (constraint,)


@pytest.mark.parametrize(
    ("update", "beyond"),
    [
        ({"latency_p95_ms": 3.17}, ()),
        ({"latency_p95_ms": 3.19}, (Constraint.LATENCY,)),
        ({"energy_mj": 6.3}, ()),
        ({"energy_mj": 6.4}, (Constraint.ENERGY,)),
        ({"accuracy": 0.89}, ()),  # of .91, with a standard error of .023
        ({"accuracy": 0.88}, (Constraint.ACCURACY,)),
        ({"storage_bytes": 40_001}, (Constraint.STORAGE,)),
    ],
)
def test_noise_explains_a_small_miss_but_never_one_of_size(update, beyond):
    assert clearly_missed(SPEC, FLOOR, REPORT.model_copy(update=update)) == beyond


def test_energy_that_was_not_measured_or_not_limited_misses_nothing():
    silent = REPORT.model_copy(update={"energy_mj": None})
    assert missed(SPEC, FLOOR, silent) == ()
    assert missed(lifted(SPEC, Constraint.ENERGY), FLOOR, REPORT) == ()


@pytest.mark.parametrize("constraint", list(Constraint))
def test_lifting_a_limit_leaves_the_others(constraint):
    free = lifted(SPEC, constraint)
    assert limit(free, constraint) >= limit(SPEC, constraint)
    assert all(limit(free, c) == limit(SPEC, c) for c in Constraint if c is not constraint)


@given(st.floats(1e-4, 1e12))
def test_rounding_up_costs_at_most_a_tenth_and_never_less_than_nothing(value):
    up = rounded_up(value)
    assert value * (1 - 1e-6) <= up <= value * 1.1001
    assert rounded_up(up) == up


def test_values_are_printed_with_their_units():
    assert rounded_up(23.61) == 24
    assert rounded_up(0.0431) == 0.044
    assert in_words(Constraint.STORAGE, 13_000) == "13 kB"
    assert in_words(Constraint.MEMORY, 2_500_000) == "2.5 MB"
    assert in_words(Constraint.MEMORY, 1 << 30) == "1.07 GB"
    assert in_words(Constraint.LATENCY, 23.61) == "23.6 ms"
    assert in_words(Constraint.ENERGY, 1.5) == "1.5 mJ"
    assert in_words(Constraint.ACCURACY, 0.044) == "0.044"
