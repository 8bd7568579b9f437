"""What follows from a belief under limits: who fits, who is ruled out, who is worth a round."""

import numpy as np
import pytest
from simulated import FAMILY, LARGE_FAMILY, Device, spec_of

from stillhouse.chunks import chunks_for
from stillhouse.cost import Family
from stillhouse.entities import Action, Constraint, DistillationMetric, FamilyTable, Student
from stillhouse.outlook import Outlook, PlanInput, believe, look, repeat

MIDDLE = Student(width=0.5, depths=(1, 3), bits=8)
DEVICE = Device()


def measured(table: FamilyTable = FAMILY, **update: float) -> DistillationMetric:
    return DEVICE.report(table, MIDDLE, 1).model_copy(update={"accuracy": 0.95, **update})


def outlook(
    table: FamilyTable = FAMILY, held=(), reports=(), inherited=(), **limits: float
) -> Outlook:
    given = PlanInput(
        spec=spec_of(**limits),
        table=table,
        probes=DEVICE.probe(table),
        reports=reports,
        inherited=inherited,
        held=held,
    )
    return look(believe(given), given.spec)


def at(table: FamilyTable, **student) -> int:
    return Family.of(table).at([MIDDLE.model_copy(update=student)])[0]


def test_a_student_much_too_slow_rules_out_the_larger_ones_on_the_same_path():
    slow = measured(LARGE_FAMILY, latency_p95_ms=10.0)
    mask = outlook(LARGE_FAMILY, reports=(slow,), latency_p95_ms=5).too_large
    assert mask[at(LARGE_FAMILY)]
    assert mask[at(LARGE_FAMILY, width=1.0)]
    assert not mask[at(LARGE_FAMILY, width=0.25)]
    assert not mask[at(LARGE_FAMILY, bits=32)]


def test_a_student_a_little_too_slow_rules_out_no_other():
    near = measured(latency_p95_ms=5.2)
    view = outlook(reports=(near, near), latency_p95_ms=5)
    assert not view.too_large.any()
    assert view.spent[at(FAMILY)]
    assert not outlook(reports=(near,), latency_p95_ms=5).spent.any()


def test_a_student_far_too_inaccurate_rules_out_the_smaller_ones():
    mask = outlook(reports=(measured(accuracy=0.8),)).too_small
    assert mask[at(FAMILY)]
    assert mask[at(FAMILY, width=0.25)]
    assert not mask[at(FAMILY, width=1.0)]


def test_memory_measured_above_the_limit_rules_out_the_larger_ones():
    big = measured(peak_memory_bytes=200_000)
    assert outlook(reports=(big,), memory_bytes=150_000).too_large[at(FAMILY, width=1.0)]


def test_energy_is_limited_by_the_power_that_was_measured():
    latency = measured().latency_p95_ms
    hungry = measured(energy_mj=2 * latency)
    tight = outlook(reports=(hungry,), energy_mj=latency)
    assert tight.in_time[at(FAMILY)] < 0.01
    assert outlook(energy_mj=latency).in_time.min() > 0.99  # nothing is known before a report


def test_equal_chances_go_to_the_student_that_needs_the_fewest_new_bytes():
    free = outlook(max_accuracy_drop=0.9)
    smallest = free.belief.students[free.choice()]
    assert smallest == Student(width=0.25, depths=(1, 1), bits=4)
    held = chunks_for(FAMILY, MIDDLE, 0)
    again = outlook(held=held, max_accuracy_drop=0.9)
    assert again.belief.students[again.choice()].within(MIDDLE)
    assert again.belief.new_bytes()(again.choice()) == 0
    larger = at(FAMILY, width=1.0)
    assert 0 < again.belief.new_bytes()(larger) < FAMILY.rows[larger].wire_bytes


def test_a_chosen_student_is_open_and_within_a_tie_of_the_best():
    view = outlook(storage_bytes=30_000, latency_p95_ms=2.6)
    index = view.choice()
    assert view.open[index]
    assert view.chance[index] >= 0.98 * view.chance[view.open].max()


def test_an_accuracy_that_is_nearly_reached_is_trained_for_a_bounded_number_of_times():
    floor, spec = 0.9, spec_of()
    near, nearer = measured(accuracy=0.89, accuracy_se=0.03), measured(accuracy=0.895)
    assert repeat(spec, floor, [near]) is Action.TRAIN
    assert repeat(spec, floor, [near, nearer]) is Action.TRAIN
    assert repeat(spec, floor, [near, near]) is None
    assert repeat(spec, floor, [near, nearer, measured(accuracy=0.897)]) is None
    assert repeat(spec, floor, [measured(accuracy=0.8)]) is None


def test_only_time_and_energy_missed_within_noise_are_measured_again_and_once():
    floor, spec = 0.9, spec_of(latency_p95_ms=5)
    near = measured(latency_p95_ms=5.2)
    assert repeat(spec, floor, [near]) is Action.MEASURE
    assert repeat(spec, floor, [near, near]) is None
    assert repeat(spec, floor, [measured(latency_p95_ms=5.4)]) is None
    assert repeat(spec, floor, [measured(latency_p95_ms=5.2, accuracy=0.89)]) is None
    assert repeat(spec, floor, [measured(accuracy=0.93, latency_p95_ms=4)]) is None
    energy = spec_of(energy_mj=10)
    assert repeat(energy, floor, [measured(energy_mj=10.5)]) is Action.MEASURE


def test_what_an_earlier_job_saw_tells_costs_and_nothing_of_accuracy():
    slow = measured(latency_p95_ms=10.0, accuracy=0.5)
    fresh = outlook(latency_p95_ms=5)
    view = outlook(inherited=(slow,), latency_p95_ms=5)
    assert view.too_large[at(FAMILY)]
    assert not view.too_small.any()
    assert view.in_time[at(FAMILY)] < 0.01
    np.testing.assert_array_equal(view.accurate, fresh.accurate)


def test_a_belief_does_not_depend_on_the_limits():
    one, other = outlook(storage_bytes=3000), outlook(latency_p95_ms=1)
    np.testing.assert_array_equal(one.belief.accuracy.mean, other.belief.accuracy.mean)
    np.testing.assert_array_equal(one.belief.latency.mean, other.belief.latency.mean)


def test_a_runtime_that_takes_more_memory_takes_it_for_every_student():
    before = outlook().belief
    one = before.students[0]
    taken = int(1.8 * FAMILY.facts(one).memory_bytes)
    after = outlook(reports=(measured(student=one, peak_memory_bytes=taken),)).belief
    ratio = after.needs[Constraint.MEMORY] / before.needs[Constraint.MEMORY]
    assert ratio == pytest.approx(1.8, rel=1e-3)
    assert (
        after.needs[Constraint.TRAINING_MEMORY] == before.needs[Constraint.TRAINING_MEMORY]
    ).all()
