"""The planner's benchmark: what it holds planners to is true, and every player keeps the rules."""

import numpy as np
import pytest

from benchmarks.knowledge.ground import Device, Spread, drawn, people, profile, spreads

rivals = pytest.importorskip("benchmarks.knowledge.rivals", reason="needs the bench extra")

GROUND = drawn(77)
GAMES = [(device, *profile(device)) for device in (Device.drawn(GROUND, i) for i in range(40))]


def test_what_is_called_possible_is_and_nothing_else():
    for device, spec, possible in GAMES:
        assert device.meets(spec).any() == possible
    assert 0.5 < np.mean([possible for *_, possible in GAMES]) < 0.95


def test_a_device_measures_the_same_when_it_is_asked_again():
    device, again = Device.drawn(GROUND, 3), Device.drawn(GROUND, 3)
    student = GROUND.table.rows[5].student
    assert device.report(student, 2) == again.report(student, 2)
    assert device.report(student, 2) != device.report(student, 3)
    assert device.probes() == again.probes()


def test_measured_accuracies_lie_around_the_truth():
    scores = []
    for device, *_ in GAMES:
        at = 20
        report = device.report(GROUND.table.rows[at].student, 1)
        true = float(device.accuracy[at])
        scores.append((report.accuracy - true) / np.sqrt(true * (1 - true) / device.windows))
    assert abs(np.mean(scores)) < 0.5
    assert 0.6 < np.std(scores) < 1.5


def test_deviations_are_found_again_under_the_noise_of_their_measurement():
    rows, true = GROUND.table.rows, Spread(shift=-0.1, person=0.03, fleet=0.01, student=0.015)
    table = np.array([row.accuracy for row in rows])
    drawn_around = people(rows, true, seed=1) - table
    noise = np.random.default_rng(2).normal(0, 0.04, (2, *drawn_around.shape))
    (found,) = spreads([drawn_around + noise])
    assert found.shift == pytest.approx(true.shift, abs=0.01)
    assert found.person == pytest.approx(true.person, rel=0.2)
    assert found.fleet == pytest.approx(true.fleet, rel=0.4)
    assert found.student == pytest.approx(true.student, rel=0.2)
    (nothing,) = spreads([noise])
    assert max(nothing.person, nothing.fleet, nothing.student) < 0.005


@pytest.mark.parametrize("propose", [rivals.at_random, rivals.shrinking, rivals.bayesian])
def test_a_rival_proposes_what_fits_and_nothing_twice(propose):
    device, spec, _ = next(game for game in GAMES if len(rivals.fitting(GROUND.table, game[1])) > 9)
    following, reports, seen = propose(GROUND.table, spec, 3), [], []
    for round in range(1, 5):
        at = following(reports)
        if at is None:
            break
        seen.append(at)
        reports.append(device.report(GROUND.table.rows[at].student, round))
    assert seen
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(rivals.fitting(GROUND.table, spec))


def test_a_players_outcomes_are_scored_by_the_truth():
    planner = pytest.importorskip("benchmarks.knowledge.planner")
    device, spec, _ = next(game for game in GAMES if game[2])
    good = planner.Outcome(
        planner.VerdictKind.MET, 2, GROUND.table.rows[int(np.argmax(device.meets(spec)))].student
    )
    bad = planner.Outcome(
        planner.VerdictKind.MET, 1, GROUND.table.rows[int(np.argmin(device.meets(spec)))].student
    )
    games = [(device, spec, True)] * 2
    scored = planner.scored(games, [good, bad])
    assert (scored["rounds"], scored["success"], scored["false_accepts"]) == (2, 0.5, 0.5)
