"""What the fleet tells a device before it reports: medians that liars do not move, in epochs."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import FAMILY, Device, spec_of

from stillhouse import cost
from stillhouse.contribution import lesson
from stillhouse.cost import Family
from stillhouse.entities import Student
from stillhouse.fleet import NEWS, PEOPLE_SD, Experience, FleetPrior, Lesson
from stillhouse.outlook import PlanInput, believe, look
from stillhouse.planner import plan

ARRAYS = Family.of(FAMILY)
SMALL, LARGE = FAMILY.rows[0].student, FAMILY.rows[-1].student
EMPTY = Experience(family_digest=FAMILY.family_digest)


def told(device: Device, student: Student = SMALL, first: bool = True, **update: float) -> Lesson:
    report = device.report(FAMILY, student, 1).model_copy(update=update)
    return lesson(ARRAYS, device.probe(FAMILY), report, first=first)


def devices(count: int, people_sd: float = 0.03, **same: float) -> list[Device]:
    offsets = np.random.default_rng(5).normal(0.02, people_sd, count)
    return [replace(Device(**same), offset=o, seed=i) for i, o in enumerate(offsets)]


def prior_of(lessons: list[Lesson]) -> FleetPrior:
    prior = EMPTY.with_lessons(lessons).epoch(None)
    assert prior is not None
    return prior


def test_an_epoch_is_published_when_enough_is_new_and_never_changes():
    lessons = [told(device) for device in devices(40)]
    few = EMPTY.with_lessons(lessons[: NEWS - 1])
    assert few.epoch(None) is None
    first = few.with_lessons(lessons[NEWS - 1 : 36]).epoch(None)
    assert first is not None
    assert (first.epoch, first.devices, first.reports) == (1, 36, 36)
    more = few.with_lessons(lessons[NEWS - 1 :])
    assert more.epoch(first) is None  # 4 of 36 more
    second = more.with_lessons(lessons[:5]).epoch(first)
    assert second is not None
    assert second.epoch == 2


@given(st.permutations(range(20)))
def test_the_order_in_which_devices_report_does_not_matter(order):
    lessons = [told(device) for device in devices(20)]
    one, other = EMPTY.with_lessons(lessons), EMPTY
    for index in order:
        other = other.with_lessons([lessons[index]])
    assert one.epoch(None) == other.epoch(None)


def test_liars_and_broken_devices_do_not_move_the_medians():
    honest = [told(device) for device in devices(31)]
    lies = [told(device, accuracy=0.0, latency_p95_ms=1e6) for device in devices(9)]
    plain, mixed = prior_of(honest), prior_of([*honest, *lies])
    assert mixed.points[0].offset == pytest.approx(plain.points[0].offset, abs=0.015)
    assert plain.quantised_gain is not None
    assert mixed.quantised_gain is not None
    assert mixed.quantised_gain[0] == pytest.approx(plain.quantised_gain[0], abs=0.03)
    assert mixed.people_sd < 1.5 * plain.people_sd


def test_the_fleet_shows_how_much_people_differ_and_what_int8_gains():
    lessons = [told(device) for device in devices(200, 0.03, int8_gain=0.7)]
    prior = prior_of(lessons)
    assert prior.people_sd == pytest.approx(0.03, abs=0.01)
    assert prior.points[0].offset == pytest.approx(0.02, abs=0.01)
    assert prior.quantised_gain is not None
    assert prior.quantised_gain[0] == pytest.approx(log(0.7), abs=0.03)
    assert prior.power is None
    few = prior_of(lessons[:NEWS])
    assert abs(few.people_sd - PEOPLE_SD) < abs(prior.people_sd - PEOPLE_SD)


def test_what_is_kept_does_not_grow_with_the_fleet():
    small = EMPTY.with_lessons(told(device) for device in devices(50))
    large = small
    for _ in range(20):
        large = large.with_lessons(told(device) for device in devices(50))
    assert len(large.model_dump_json()) < 1.5 * len(small.model_dump_json())
    assert large.reports == 21 * small.reports
    assert Experience.model_validate_json(large.model_dump_json()) == large


def test_a_later_report_of_a_device_tells_of_its_student_alone():
    prior = prior_of(
        [told(d) for d in devices(8)] + [told(d, LARGE, first=False) for d in devices(8)]
    )
    assert (prior.devices, prior.reports) == (8, 16)
    assert {point.student: point.devices for point in prior.points} == {SMALL: 8, LARGE: 8}


def test_the_fleet_shifts_what_a_new_device_expects_and_leaves_it_its_own_doubt():
    prior = prior_of([told(device) for device in devices(60)])
    before, after = cost.accuracy(ARRAYS, ()), cost.accuracy(ARRAYS, (), prior)
    assert (after.mean - before.mean).min() > 0.005  # like students are better, too
    assert 0.02 < after.sd.min() < before.sd.min()
    own = Device(offset=-0.1).report(FAMILY, SMALL, 1)
    posterior = cost.accuracy(ARRAYS, (own,), prior)
    assert abs(posterior.mean[0] - own.accuracy) < 0.03


def test_the_fleets_shape_of_latencies_replaces_the_hosts():
    prior = prior_of([told(device) for device in devices(20)])
    layers = prior.model_copy(update={"shape": (0.0, 1.0, 0.0)})
    host, fleet = cost.shape_ms(ARRAYS, ()), cost.shape_ms(ARRAYS, (), layers)
    deep, wide = ARRAYS.at(
        [Student(width=0.25, depths=(3, 3), bits=8), Student(width=1.0, depths=(1, 1), bits=8)]
    )
    assert fleet[deep] / fleet[wide] > host[deep] / host[wide]


def test_the_fleets_power_is_a_wide_prior_that_rules_nothing_out_until_a_device_reports():
    prior = prior_of([told(device) for device in devices(20, power_w=2.0)])
    assert prior.power is not None
    assert prior.power[0] == pytest.approx(log(2.0), abs=0.05)
    device = Device(power_w=2.0)
    given_ = PlanInput(
        spec=spec_of(energy_mj=0.1), table=FAMILY, probes=device.probe(FAMILY), fleet=prior
    )
    tight = look(believe(given_), given_.spec)
    assert 0 < tight.in_time.max() < 0.02
    plenty = look(believe(given_), spec_of(energy_mj=1e4))
    assert plenty.in_time.min() > 0.99
    silent = device.report(FAMILY, SMALL, 1).model_copy(update={"energy_mj": None})
    told_nothing = given_.model_copy(update={"reports": (silent,)})
    assert believe(told_nothing).energy is None


def test_the_epoch_is_part_of_the_plan():
    given_ = PlanInput(spec=spec_of(), table=FAMILY, probes=Device().probe(FAMILY))
    prior = prior_of([told(device) for device in devices(20)])
    later = given_.model_copy(update={"fleet": prior})
    assert (plan(given_).prior_epoch, plan(later).prior_epoch) == (0, 1)
    assert given_.fingerprint() != later.fingerprint()
