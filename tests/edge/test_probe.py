"""Probes: shapes from the family, weights from a seed, times that are at least times."""

import torch
from tiny import ARCHITECTURE, GRID, PRE, student

from stillhouse.compress.arch import weights_of
from stillhouse.edge.probe import host_calibration, latency, probe_network


def test_a_probe_has_a_students_shape_and_the_weights_of_its_seed() -> None:
    point = student(0.5, 1, 2)
    one, two, other = (weights_of(probe_network(ARCHITECTURE, point, seed)) for seed in (1, 1, 2))
    assert one["head.weight"].shape == (3, 4)
    assert one["head.weight"].tobytes() == two["head.weight"].tobytes()
    assert one["head.weight"].tobytes() != other["head.weight"].tobytes()


def test_probing_leaves_the_callers_random_state_alone() -> None:
    before = torch.get_rng_state()
    probe_network(ARCHITECTURE, student(0.5, 1, 1), seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_latency_names_the_median_and_the_tail() -> None:
    threads = torch.get_num_threads()
    p50, p95 = latency(probe_network(ARCHITECTURE, student(1, 2, 2), 0), (3, 16), cores=2, runs=20)
    assert 0 < p50 <= p95
    assert torch.get_num_threads() == threads


def test_the_host_is_calibrated_for_every_student_once_a_shape() -> None:
    found = host_calibration(ARCHITECTURE, PRE, GRID.students())
    assert set(found) == set(GRID.students())
    assert all(value > 0 for value in found.values())
    for fine in GRID.shapes():
        assert found[fine] == found[fine.model_copy(update={"bits": 4})]
