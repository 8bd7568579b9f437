"""INFEASIBLE: which limit binds, and under which value something would do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import FAMILY, Device, live, random_case, spec_of

from stillhouse.entities import Constraint, Plan, ProfileSpec, Verdict, VerdictKind
from stillhouse.limits import NAMES, SIZES, in_words, limit, with_limits
from stillhouse.offers import OFFER
from stillhouse.planner import PlanInput, plan

SMALLEST = min(FAMILY.rows, key=lambda row: row.storage_bytes)


def refused(spec: ProfileSpec, device: Device = Device(), reports=()) -> Verdict:  # noqa: B008
    given = PlanInput(spec=spec, table=FAMILY, probes=device.probe(FAMILY), reports=reports)
    outcome = plan(given)
    assert isinstance(outcome, Verdict)
    assert outcome.kind is VerdictKind.INFEASIBLE
    return outcome


@pytest.mark.parametrize("constraint", SIZES)
def test_a_size_below_that_of_every_student_binds_before_any_round(constraint):
    verdict = refused(spec_of(**{constraint.value: 1500}))
    assert verdict.binding_constraint is constraint
    assert "1.5 kB" in verdict.why
    (offer,) = verdict.counter_offers
    assert set(offer.limits) == {constraint, Constraint.ACCURACY}  # nothing of it is known yet
    assert offer.chance >= OFFER


def test_two_sizes_too_small_are_offered_together():
    verdict = refused(spec_of(storage_bytes=1000, memory_bytes=1000))
    assert verdict.binding_constraint in SIZES
    (offer,) = verdict.counter_offers
    assert set(offer.limits) == {Constraint.STORAGE, Constraint.MEMORY, Constraint.ACCURACY}
    assert offer.limits[Constraint.STORAGE] >= SMALLEST.storage_bytes
    assert offer.limits[Constraint.MEMORY] >= SMALLEST.memory_bytes
    assert offer.chance >= OFFER
    assert f"allowed, {offer.student} would do (chance {offer.chance:.0%})" in verdict.why
    for constraint in (Constraint.STORAGE, Constraint.MEMORY):
        words = f"{NAMES[constraint]} {in_words(constraint, offer.limits[constraint])}"
        assert words in verdict.why
    assert "storage is limited to 1 kB" in verdict.why
    assert "memory is limited to 1 kB" in verdict.why


def test_a_hopeless_latency_is_said_before_any_round():
    verdict = refused(spec_of(latency_p95_ms=0.4), Device(slowness=10))
    assert verdict.binding_constraint is Constraint.LATENCY
    assert "0.4 ms" in verdict.why


def test_a_latency_that_a_fast_int8_path_could_reach_is_tried():
    device = Device(slowness=10)
    given = PlanInput(spec=spec_of(latency_p95_ms=1.0), table=FAMILY, probes=device.probe(FAMILY))
    assert isinstance(plan(given), Plan)


def test_the_impossible_watch_is_shown_after_one_round_with_a_latency_that_would_do():
    device = Device(slowness=200, int8_gain=0.8)
    spec = spec_of(
        latency_p95_ms=20, storage_bytes=8000, memory_bytes=20_000, max_accuracy_drop=0.12
    )
    story = live(FAMILY, spec, device)
    assert story.end.kind is VerdictKind.INFEASIBLE
    assert len(story.plans) == 1
    assert story.end.binding_constraint is Constraint.LATENCY
    (offer,) = story.end.counter_offers
    assert set(offer.limits) == {Constraint.LATENCY}
    assert 23 < offer.limits[Constraint.LATENCY] < 30
    assert offer.chance >= 0.9


def test_accuracy_can_rule_out_everything_only_after_two_reports():
    device = Device(offset=-0.4)
    story = live(FAMILY, spec_of(storage_bytes=20_000, max_accuracy_drop=0.02), device)
    assert story.end.kind is VerdictKind.INFEASIBLE
    assert story.end.binding_constraint is Constraint.ACCURACY
    assert len(story.given.reports) == 2
    (offer,) = story.end.counter_offers
    assert 0.35 < offer.limits[Constraint.ACCURACY] < 0.6


def test_memory_that_a_device_measures_above_the_table_can_bind():
    device = Device()
    smallest = device.report(FAMILY, SMALLEST.student, 1)
    swollen = smallest.model_copy(update={"peak_memory_bytes": 50_000})
    verdict = refused(spec_of(memory_bytes=40_000), device, (swollen,))
    assert verdict.binding_constraint is Constraint.MEMORY
    assert "50 kB" in verdict.why


def test_energy_can_bind_once_the_power_is_known():
    device = Device(power_w=2.0)
    report = device.report(FAMILY, SMALLEST.student, 1)
    verdict = refused(spec_of(energy_mj=0.3 * (report.energy_mj or 0)), device, (report,))
    assert verdict.binding_constraint is Constraint.ENERGY


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 2.2]))
def test_under_a_counter_offer_there_is_a_plan_with_its_student_and_chance(seed, int8_gain):
    device, spec = random_case(seed, int8_gain)
    story = live(FAMILY, spec, device)
    for offer in story.end.counter_offers:
        assert all(value > limit(spec, c) for c, value in offer.limits.items())
        relaxed = with_limits(spec, offer.limits)
        made = plan(story.given.model_copy(update={"spec": relaxed, "next_action": None}))
        assert isinstance(made, Plan)
        assert made.student == offer.student
        assert made.chance == offer.chance
        assert offer.chance >= OFFER
    counts = {len(offer.limits) for offer in story.end.counter_offers}
    assert counts in (set(), {1}) or len(story.end.counter_offers) == 1
