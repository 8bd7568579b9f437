"""A dry run says what the first plan would be, how sure it is, and why it is no other student."""

from math import log

import numpy as np
import pytest
from simulated import FAMILY, LARGE_FAMILY, Device, spec_of

from stillhouse.chunks import new_wire_bytes
from stillhouse.entities import Constraint, VerdictKind
from stillhouse.estimates import Preview, Reason
from stillhouse.fleet import FleetPrior
from stillhouse.planner import PlanInput, plan
from stillhouse.preview import NEAREST, preview

DEVICE = Device(slowness=12)
WATCH = spec_of(storage_bytes=40_000, memory_bytes=64_000, latency_p95_ms=2.8)
START = PlanInput(spec=WATCH, table=LARGE_FAMILY, probes=DEVICE.probe(LARGE_FAMILY))


def previewed(**update: object) -> Preview:
    return preview(START.model_copy(update=update), "wrist@1")


def test_it_is_the_very_plan_that_a_job_would_begin_with():
    found = previewed()
    assert found.plan == plan(START)
    assert found.estimate is not None
    assert found.estimate.student == found.plan.student
    assert found.estimate.chance == found.plan.chance
    assert found.estimate.accuracy.expected == pytest.approx(found.plan.expected_accuracy)
    assert found.verdict is None
    assert previewed() == found


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    inside = []
    for seed in range(150):
        device = Device(slowness=12, offset=np.random.default_rng(seed).normal(0, 0.06), seed=seed)
        found = previewed(probes=device.probe(LARGE_FAMILY))
        row = LARGE_FAMILY.facts(found.estimate.student)
        for interval, true in (
            (found.estimate.latency_p95_ms, device.latency_ms(row, row.student.bits, 1)),
            (found.estimate.accuracy, device.true_accuracy(row)),
        ):
            assert interval.low < interval.expected < interval.high
            inside.append(interval.low <= true <= interval.high)
    assert 0.72 < np.mean(inside) < 0.95


def test_every_other_student_is_rejected_for_one_reason():
    found = previewed()
    assert sum(found.rejected.values()) == len(LARGE_FAMILY.rows) - 1
    assert set(found.rejected) == {
        Reason.TOO_BIG,
        Reason.TOO_SLOW,
        Reason.LESS_LIKELY,
        Reason.MORE_BYTES,
    }
    assert len(found.nearest) == NEAREST
    for other in found.nearest:
        row = LARGE_FAMILY.facts(other.student)
        if other.constraint is Constraint.STORAGE:
            assert row.storage_bytes > WATCH.storage_bytes
            assert "40 kB" in other.why
        if other.reason is Reason.MORE_BYTES:
            assert row.wire_bytes >= LARGE_FAMILY.facts(found.plan.student).wire_bytes


def test_the_front_trades_accuracy_latency_and_bytes_among_those_that_fit():
    found = previewed()
    for one in found.pareto:
        row = LARGE_FAMILY.facts(one.student)
        assert row.storage_bytes <= WATCH.storage_bytes
        assert row.memory_bytes <= WATCH.memory_bytes
        for other in found.pareto:
            better = (
                other.accuracy.expected >= one.accuracy.expected
                and other.latency_p95_ms.expected <= one.latency_p95_ms.expected
                and other.bytes.expected < one.bytes.expected
            )
            assert not better
    assert min(LARGE_FAMILY.rows, key=lambda row: row.wire_bytes).student in [
        each.student for each in found.pareto
    ]


def test_what_the_device_holds_is_not_counted_again():
    first = previewed()
    held = previewed(held=first.plan.chunks)
    same = {each.student: each for each in held.pareto}
    assert held.plan.chunks
    assert held.estimate.bytes.expected == new_wire_bytes(
        LARGE_FAMILY, held.estimate.student, first.plan.chunks
    )
    assert min(each.bytes.expected for each in same.values()) == 0


def test_without_probes_it_says_whose_latencies_it_goes_by_and_doubts_them():
    known, host = previewed(), previewed(probes=())
    prior = FleetPrior(
        family_digest=LARGE_FAMILY.family_digest,
        epoch=3,
        devices=9,
        reports=9,
        points=(),
        people_sd=0.05,
    )
    fleet = previewed(probes=(), fleet=prior)
    assert [each.basis for each in (known, host, fleet)] == ["probes", "host", "fleet"]
    assert [each.prior_epoch for each in (known, host, fleet)] == [0, 0, 3]

    def width(found: Preview) -> float:
        interval = found.estimate.latency_p95_ms
        return log(interval.high / interval.low)

    assert width(host) > 4 > 1 > width(known)


def test_what_is_infeasible_already_says_so_with_its_offers():
    found = previewed(spec=spec_of(storage_bytes=500), table=FAMILY, probes=DEVICE.probe(FAMILY))
    assert found.plan is None
    assert found.estimate is None
    assert found.verdict.kind is VerdictKind.INFEASIBLE
    assert found.verdict.binding_constraint is Constraint.STORAGE
    assert found.verdict.counter_offers
    assert found.rejected == {Reason.TOO_BIG: len(FAMILY.rows)}
    assert found.pareto == ()
