"""What a student will cost and give: the posteriors against devices whose truth is known."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import FAMILY, LARGE_FAMILY, Device

from stillhouse import cost
from stillhouse.entities import DistillationMetric, ProbeResult, Student
from stillhouse.limits import standard_error

BOTH = {id(table): cost.Family.of(table) for table in (FAMILY, LARGE_FAMILY)}


def of(table):
    return BOTH[id(table)]


SMALL = Student(width=0.25, depths=(1, 1), bits=8)
LARGE = Student(width=1.0, depths=(3, 3), bits=8)

# ms a layer, ms a MAC, ms at all: devices that differ in what their time goes into
SHAPES = [(0.0205, 4e-8, -0.01), (0.001, 1e-9, 0.5), (0.001, 1e-6, 0.0), (0.005, 1e-6, 0.1)]


def probes_of(truth: np.ndarray) -> tuple[ProbeResult, ...]:
    shapes = {
        (row.student.width, row.student.depths): ms
        for row, ms in zip(LARGE_FAMILY.rows, truth, strict=True)
    }
    return tuple(
        ProbeResult(student=p, latency_p50_ms=ms, latency_p95_ms=ms)
        for p in LARGE_FAMILY.probes
        for ms in [shapes[p.width, p.depths]]
    )


def truth_of(shape: tuple[float, float, float]) -> np.ndarray:
    per_layer, per_mac, constant = shape
    return np.array([per_layer * r.layers + per_mac * r.macs + constant for r in LARGE_FAMILY.rows])


def at(student: Student, values: np.ndarray) -> float:
    return float(values[of(FAMILY).at([student])[0]])


@pytest.mark.parametrize("shape", SHAPES)
def test_four_probes_tell_all_latencies_wherever_the_time_goes(shape):
    truth = truth_of(shape)
    error = np.abs(cost.shape_ms(of(LARGE_FAMILY), probes_of(truth)) / truth - 1)
    assert error.mean() < 0.02
    assert error.max() < 0.05


@given(slowness=st.floats(0.1, 1000))
def test_one_probe_teaches_the_slowness_alone(slowness):
    host = cost.shape_ms(of(LARGE_FAMILY), ())
    fitted = cost.shape_ms(of(LARGE_FAMILY), probes_of(host * slowness)[:1])
    np.testing.assert_allclose(fitted, host * slowness)


def test_without_probes_the_first_report_tells_how_slow_the_device_is():
    device = Device(slowness=150)
    report = device.report(FAMILY, SMALL, 1)
    before, after = cost.latency(of(FAMILY), (), ()), cost.latency(of(FAMILY), (), (report,))
    assert at(SMALL, before.sd) > 2
    expected = log(device.latency_ms(FAMILY.facts(LARGE), 8, 2))
    assert abs(at(LARGE, after.mean) - expected) < 2 * at(LARGE, after.sd)


def test_the_gain_of_quantised_weights_is_the_prior_until_it_is_measured():
    device = Device(int8_gain=2.0)
    probes = device.probe(FAMILY)
    fp32 = log(at(SMALL, cost.shape_ms(of(FAMILY), probes)))
    before = cost.latency(of(FAMILY), probes, ())
    after = cost.latency(of(FAMILY), probes, (device.report(FAMILY, SMALL, 1),))
    assert at(SMALL, before.mean) - fp32 == pytest.approx(-0.25)
    assert at(LARGE, after.mean) - at(LARGE, before.mean) > 0.7
    assert at(LARGE, after.sd) < at(LARGE, before.sd)


def test_a_slow_int8_path_says_little_of_fp32():
    device = Device(int8_gain=2.0)
    probes = device.probe(LARGE_FAMILY)
    report = device.report(LARGE_FAMILY, SMALL, 1)
    fp32 = of(LARGE_FAMILY).at([SMALL.model_copy(update={"bits": 32})])[0]
    before = cost.latency(of(LARGE_FAMILY), probes, ())
    after = cost.latency(of(LARGE_FAMILY), probes, (report,))
    assert after.mean[fp32] - before.mean[fp32] < 0.3


def test_latency_is_as_uncertain_as_it_says():
    scores = []
    for seed in range(200):
        device = Device(slowness=10, int8_gain=0.75, seed=seed)
        one, other = np.random.default_rng(seed).integers(len(FAMILY.rows), size=2)
        seen = device.report(FAMILY, FAMILY.rows[one].student, 1)
        posterior = cost.latency(of(FAMILY), device.probe(FAMILY), (seen,))
        row = FAMILY.rows[other]
        measured = log(device.latency_ms(row, row.student.bits, 2))
        scores.append((measured - posterior.mean[other]) / posterior.sd[other])
    assert 0.5 < np.std(scores) < 1.3
    assert np.mean(np.abs(scores) > 3) < 0.02


def test_a_report_moves_the_accuracy_of_all_students_of_that_person():
    report = Device(offset=-0.1).report(FAMILY, SMALL, 1)
    before, after = cost.accuracy(of(FAMILY), ()), cost.accuracy(of(FAMILY), (report,))
    assert at(LARGE, after.mean) < at(LARGE, before.mean) - 0.03
    assert np.all(after.sd < before.sd)
    assert np.argmax(after.mean) == np.argmax(before.mean)


def test_the_same_measurement_again_is_no_news():
    report = Device().report(FAMILY, SMALL, 1)
    again = report.model_copy(update={"round": 2})
    once, twice = cost.accuracy(of(FAMILY), (report,)), cost.accuracy(of(FAMILY), (report, again))
    np.testing.assert_array_equal(once.sd, twice.sd)


def test_a_perfect_score_is_not_certain():
    perfect = (
        Device()
        .report(FAMILY, SMALL, 1)
        .model_copy(update={"accuracy": 1.0, "accuracy_se": 0.0, "samples": 100})
    )
    assert 0.005 < standard_error(perfect) < 0.02


def test_measured_over_predicted_is_the_surprise_of_the_last_report():
    device = Device(int8_gain=2.0)
    reports: tuple[DistillationMetric, ...] = (device.report(FAMILY, SMALL, 1),)
    first = cost.measured_over_predicted(of(FAMILY), device.probe(FAMILY), reports)
    reports = (*reports, device.report(FAMILY, LARGE, 2))
    second = cost.measured_over_predicted(of(FAMILY), device.probe(FAMILY), reports)
    assert first == pytest.approx(2 / exp(-0.25), rel=0.15)
    assert second < 1.5


def test_a_student_that_the_family_lacks_is_an_error():
    with pytest.raises(KeyError):
        of(FAMILY).at([Student(width=0.3, depths=(1, 1), bits=8)])


@given(st.floats(-3, 3), st.floats(0.01, 0.99))
def test_a_quantile_has_the_chance_it_was_asked_for(mean, chance):
    normal = cost.Normal(np.array([mean]), np.array([0.5]))
    assert normal.below(normal.quantile(0, chance))[0] == pytest.approx(chance)
    assert normal.above(mean)[0] == pytest.approx(0.5)
