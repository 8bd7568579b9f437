"""A round's plan: feasible, the likeliest student, the fewest new bytes, the reason in words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import FAMILY, LARGE_FAMILY, Device, live, random_case, spec_of

from stillhouse.chunks import chunks_for
from stillhouse.entities import Action, Constraint, Plan, Student, Verdict, VerdictKind
from stillhouse.limits import SIZES
from stillhouse.planner import PlanInput, plan

DEVICE = Device(slowness=12)
WATCH = spec_of(storage_bytes=40_000, memory_bytes=64_000, latency_p95_ms=3)
START = PlanInput(spec=WATCH, table=FAMILY, probes=DEVICE.probe(FAMILY), public_windows=250)
STEPS = FAMILY.training.steps
CASES = st.integers(0, 10_000)


def planned(given_: PlanInput) -> Plan:
    made = plan(given_)
    assert isinstance(made, Plan)
    return made


def with_report(accuracy: float, action: Action | None) -> PlanInput:
    """After a first round of the watch's student, with all chunks of it there."""
    first = planned(START)
    report = DEVICE.report(FAMILY, first.student, 1).model_copy(update={"accuracy": accuracy})
    return START.model_copy(
        update={"reports": (report,), "held": first.chunks, "round": 2, "next_action": action}
    )


@settings(max_examples=60, deadline=None)
@given(CASES, st.sampled_from([FAMILY, LARGE_FAMILY]))
def test_before_any_report_size_binds_exactly_where_nothing_fits(seed, table):
    device, spec = random_case(seed)
    outcome = plan(PlanInput(spec=spec, table=table, probes=device.probe(table)))
    fitting = [
        row
        for row in table.rows
        if row.storage_bytes <= spec.storage_bytes and row.memory_bytes <= spec.memory_bytes
    ]
    if not fitting:
        assert isinstance(outcome, Verdict)
        assert outcome.binding_constraint in SIZES
    elif isinstance(outcome, Verdict):
        assert outcome.binding_constraint is Constraint.LATENCY


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_every_plan_fits_and_carries_all_its_chunks(seed):
    device, spec = random_case(seed)
    for made in live(FAMILY, spec, device).plans:
        row = FAMILY.facts(made.student)
        assert row.storage_bytes <= spec.storage_bytes
        assert row.memory_bytes <= spec.memory_bytes
        assert made.chunks[-1].student == made.student


@settings(max_examples=30, deadline=None)
@given(CASES)
def test_the_same_input_gives_the_same_plan(seed):
    device, spec = random_case(seed)
    given_ = live(FAMILY, spec, device).given
    copy = PlanInput.model_validate_json(given_.model_dump_json())
    assert plan(given_) == plan(copy)
    assert given_.fingerprint() == copy.fingerprint()


def test_a_first_plan_delivers_and_says_what_is_out_and_what_is_likely():
    made = planned(START)
    assert made.action is Action.DELIVER
    assert made.training.steps == STEPS
    assert made.chunks == chunks_for(FAMILY, made.student, 250)
    assert "6 need more storage than 40 kB" in made.why
    assert f"{made.student} meets all limits with a chance of {made.chance:.0%}" in made.why


def test_a_near_miss_trains_the_same_student_longer_and_sends_nothing():
    made = planned(with_report(0.89, Action.TRAIN))
    assert made.action is Action.TRAIN
    assert made.student == planned(START).student
    assert made.training.steps == 2 * STEPS


def test_a_measurement_is_repeated_without_training():
    made = planned(with_report(0.95, Action.MEASURE))
    assert made.action is Action.MEASURE
    assert made.student == planned(START).student
    assert made.training.steps == 0


def test_another_student_is_a_delivery_of_what_is_missing():
    made = planned(with_report(0.80, Action.DELIVER))
    assert made.action is Action.DELIVER
    assert made.student != planned(START).student


def test_a_student_whose_chunks_are_all_held_is_only_trained():
    held = planned(START).chunks
    made = planned(START.model_copy(update={"held": held}))
    assert made.action is Action.TRAIN


def test_seeds_differ_by_round_and_by_job_alone():
    def seed(**update) -> int:
        return planned(START.model_copy(update=update)).training.seed

    assert seed() == seed()
    assert len({seed(), seed(round=2), seed(seed=1)}) == 3


def test_training_memory_rules_out_students_where_the_profile_has_it():
    limited = WATCH.model_copy(update={"training_memory_bytes": 300_000})
    made = planned(START.model_copy(update={"spec": limited}))
    assert FAMILY.facts(made.student).training_memory_bytes[0] <= 300_000


def test_a_slow_int8_path_gets_a_smaller_student_in_round_two_and_ends_met():
    device = Device(slowness=12, int8_gain=1.6, offset=0.03)
    spec = spec_of(storage_bytes=60_000, latency_p95_ms=3.25, max_accuracy_drop=0.03)
    story = live(FAMILY, spec, device)
    first, second = story.plans[:2]
    assert story.end.kind is VerdictKind.MET, story.end.why
    assert len(story.plans) == 2
    assert "latency" in story.verdicts[0].why
    assert "times the predicted latency" in story.verdicts[0].why
    assert FAMILY.facts(second.student).macs < FAMILY.facts(first.student).macs
    assert first.expected_latency_p95_ms < 2 < second.expected_latency_p95_ms


def test_a_student_that_has_become_too_slow_is_not_planned_again_by_the_job_that_follows():
    strict = START.model_copy(
        update={"spec": WATCH.model_copy(update={"max_accuracy_drop": 0.005, "latency_p95_ms": 4})}
    )
    first = planned(strict)
    held = strict.model_copy(update={"held": first.chunks})
    assert planned(held).student == first.student  # an accuracy that broke: trained again
    slow = DEVICE.report(FAMILY, first.student, 1).model_copy(update={"latency_p95_ms": 4.8})
    made = planned(held.model_copy(update={"inherited": (slow,)}))
    before, after = FAMILY.facts(first.student), FAMILY.facts(made.student)
    assert (after.layers, after.macs) < (before.layers, before.macs)
    assert made.expected_latency_p95_ms < 4


def test_a_report_of_a_student_that_is_not_in_the_family_is_an_error():
    report = DEVICE.report(FAMILY, FAMILY.rows[0].student, 1)
    alien = report.model_copy(update={"student": Student(width=0.3, depths=(1, 1), bits=8)})
    with pytest.raises(KeyError):
        plan(START.model_copy(update={"reports": (alien,)}))


def test_a_device_whose_int8_path_is_slow_gets_a_student_that_is_not_quantised() -> None:
    device = Device(slowness=12, int8_gain=2.5)
    probes = device.probe(LARGE_FAMILY)
    spec = spec_of(latency_p95_ms=1.3 * min(probe.latency_p95_ms for probe in probes))
    story = live(LARGE_FAMILY, spec, device)
    assert story.plans[0].student.bits < 32  # float32 probes do not show it
    assert (story.end.kind, story.end.student.bits) == (VerdictKind.MET, 32)


def test_as_many_blocks_train_as_the_training_memory_allows():
    def share(allowed: int | None) -> float:
        spec = WATCH.model_copy(update={"training_memory_bytes": allowed})
        made = planned(START.model_copy(update={"spec": spec}))
        assert allowed is None or FAMILY.facts(made.student).training_memory_bytes[0] <= allowed
        return made.training.trainable

    shares = [share(allowed) for allowed in (250_000, 400_000, None)]
    assert shares == sorted(shares)
    assert shares[0] < 1 == shares[-1]


def test_a_student_trains_as_its_owner_says():
    owners = FAMILY.training.model_copy(
        update={"steps": 100, "learning_rate": 0.003, "optimiser": "adamw", "standardise": True}
    )
    table = FAMILY.model_copy(update={"training": owners})
    training = planned(START.model_copy(update={"table": table})).training
    assert training.model_dump(include=set(type(owners).model_fields)) == owners.model_dump()


def test_a_near_miss_is_taught_with_more_behaviour_where_there_is_more():
    plenty = START.model_copy(update={"public_windows": 5000})
    first = planned(plenty)
    report = DEVICE.report(FAMILY, first.student, 1).model_copy(update={"accuracy": 0.89})
    near = plenty.model_copy(
        update={"reports": (report,), "held": first.chunks, "round": 2, "next_action": Action.TRAIN}
    )
    made = planned(near)
    assert made.action is Action.DELIVER
    assert made.student == first.student
    assert len(made.chunks) > len(first.chunks)
    assert set(first.chunks) < set(made.chunks)
