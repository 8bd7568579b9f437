"""The loop ends in the right verdict, and each judgement follows from its measurement."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import FAMILY, REGISTERED, Device, Story, live, random_case, spec_of, truly_meets

from stillhouse.entities import Action, Plan, VerdictKind
from stillhouse.limits import accuracy_floor, missed
from stillhouse.planner import PlanInput, plan
from stillhouse.verdict import judge

DEVICE = Device(slowness=12)
WATCH = spec_of(storage_bytes=40_000, memory_bytes=64_000, latency_p95_ms=3)
START = PlanInput(spec=WATCH, table=FAMILY, probes=DEVICE.probe(FAMILY))


def after(accuracy: float, **update: object) -> PlanInput:
    """The watch's first round, with this accuracy (SE about .023)."""
    first = plan(START)
    assert isinstance(first, Plan)
    report = DEVICE.report(FAMILY, first.student, 1)
    measured = report.model_copy(update={"accuracy": accuracy, **update})
    return START.model_copy(update={"reports": (measured,), "held": first.chunks})


def test_measurements_within_all_limits_that_are_sure_enough_meet_the_profile():
    verdict = judge(after(0.95))
    assert verdict.kind is VerdictKind.MET
    assert "accuracy 0.950" in verdict.why
    assert "latency" in verdict.why


@pytest.mark.parametrize(
    ("accuracy", "update", "action"),
    [
        (0.901, {}, Action.DELIVER),  # at the floor of .900: as likely below it
        (0.890, {}, Action.TRAIN),
        (0.850, {}, Action.DELIVER),
        (0.95, {"latency_p95_ms": 3.05}, Action.MEASURE),
        (0.95, {"latency_p95_ms": 3.25}, Action.DELIVER),
        (0.89, {"latency_p95_ms": 3.05}, Action.DELIVER),
        (0.95, {"peak_memory_bytes": 65_000}, Action.DELIVER),
    ],
)
def test_what_a_measurement_asks_for(accuracy, update, action):
    verdict = judge(after(accuracy, **update))
    assert verdict.kind is VerdictKind.ADJUST
    assert verdict.next_action is action
    assert f"accuracy {accuracy:.3f}" in verdict.why


@pytest.mark.parametrize(
    ("once", "action"),
    [(after(0.89), Action.TRAIN), (after(0.95, latency_p95_ms=3.05), Action.MEASURE)],
)
def test_a_repeat_that_brings_the_same_result_is_not_asked_for_again(once, action):
    again = once.reports[0].model_copy(update={"round": 2})
    twice = once.model_copy(update={"reports": (*once.reports, again), "round": 2})
    assert judge(once).next_action is action
    assert judge(twice).next_action is Action.DELIVER
    other = plan(twice.model_copy(update={"round": 3, "next_action": Action.DELIVER}))
    assert isinstance(other, Plan)
    assert other.student != again.student


def test_when_the_rounds_are_used_up_the_best_student_stays():
    last = after(0.85)
    verdict = judge(last.model_copy(update={"round": last.max_rounds}))
    assert verdict.kind is VerdictKind.BEST_EFFORT
    assert verdict.student == last.reports[0].student
    assert "Missed accuracy." in verdict.why


def test_when_no_student_is_left_the_best_one_stays():
    smallest = FAMILY.rows[0]
    tiny = spec_of(storage_bytes=smallest.storage_bytes, memory_bytes=smallest.memory_bytes)
    story = live(FAMILY, tiny, Device(offset=-0.1))
    assert story.end.kind is VerdictKind.BEST_EFFORT
    assert story.end.student == smallest.student
    assert len(story.plans) < 8


def check(story: Story) -> None:
    """What holds of every story: it ended, and never repeats without need."""
    spec, floor = story.given.spec, accuracy_floor(story.given.spec, REGISTERED)
    *before, end = story.verdicts
    assert end.kind is not VerdictKind.ADJUST
    assert all(verdict.kind is VerdictKind.ADJUST for verdict in before)
    if end.kind is VerdictKind.MET:
        assert missed(spec, floor, story.given.reports[-1]) == ()
        assert end.student == story.given.reports[-1].student
    if end.kind is VerdictKind.INFEASIBLE:
        assert end.binding_constraint is not None
    for verdict, following in zip(before, story.plans[1:], strict=False):
        repeated = verdict.next_action in (Action.TRAIN, Action.MEASURE)
        assert not repeated or following.student == verdict.student


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1_000_000), st.floats(0.5, 3), st.integers(1, 8))
def test_every_loop_ends_within_its_rounds(seed, int8_gain, max_rounds):
    device, spec = random_case(seed, int8_gain)
    check(live(FAMILY, spec, device, max_rounds))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000_000))
def test_the_same_measurements_get_the_same_judgement(seed):
    device, spec = random_case(seed)
    story = live(FAMILY, spec, device)
    if story.given.reports:
        copy = PlanInput.model_validate_json(story.given.model_dump_json())
        assert judge(copy) == judge(story.given) == story.end


@pytest.mark.parametrize("same_windows", [None, 0.8])
def test_over_many_devices_the_loop_is_short_and_mostly_right(same_windows):
    counts: Counter[str] = Counter()
    rounds = 0
    for seed in range(150):
        device, spec = random_case(seed)
        device = replace(device, same_windows=same_windows)
        story = live(FAMILY, spec, device)
        possible = any(truly_meets(spec, device, row) for row in FAMILY.rows)
        met = story.end.kind is VerdictKind.MET
        counts["possible"] += possible
        counts["success"] += possible and met
        counts["false infeasible"] += possible and story.end.kind is VerdictKind.INFEASIBLE
        if met:
            assert story.end.student is not None
            counts["met"] += 1
            rounds += len(story.plans)
            accepted = FAMILY.facts(story.end.student)
            counts["false accept"] += not truly_meets(spec, device, accepted)
    assert counts["success"] > 0.88 * counts["possible"]
    assert counts["false accept"] < 0.15 * counts["met"]
    assert counts["false infeasible"] < 0.03 * counts["possible"]
    assert rounds < 1.6 * counts["met"]
