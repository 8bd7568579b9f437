"""A simulated device: its anchor is its own, the host gives the shape, memory is a wall."""

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from edge_sim.device import SimulatedWorkbench, weights_bytes
from edge_sim.scenario import DeviceModel
from stillhouse.chunks import weights_chunks
from stillhouse.compress.slices import weights_chunk
from stillhouse.edge.workbench import PrivateData
from stillhouse.entities import Student
from stillhouse.errors import Invalid
from stillhouse.wire.messages import ModelCard, ProbeWork

CARD = ModelCard(
    architecture=tiny.ARCHITECTURE,
    preprocessing=tiny.PRE,
    labels=tiny.SPEC.labels,
    transfer_inputs="e" * 64,
    transfer_input_count=0,
)
SMALLEST, LARGEST = tiny.GRID.shapes()[0], tiny.GRID.shapes()[-1]
HOST = {shape: 0.1 * (1 + place) for place, shape in enumerate(tiny.GRID.shapes())}
PRIVATE = PrivateData(tiny.recordings(5), tiny.recordings(6))


def bench(seed: int = 0, host_speed: float = 1.0, **model: float) -> SimulatedWorkbench:
    given = {"anchor_latency_ms": 10, "memory_bytes": 1_000_000, "noise_sd": 0, **model}
    host = {shape: ms / host_speed for shape, ms in HOST.items()}
    return SimulatedWorkbench(PRIVATE, None, DeviceModel(**given), host, seed)


def p95(bench: SimulatedWorkbench, student: Student, *, quantised: bool = True) -> float:
    return bench.latency_ms(CARD, student, 1, quantised=quantised, seed=0)[1]


def test_the_smallest_student_takes_the_anchor_and_the_host_gives_the_shape() -> None:
    assert p95(bench(), SMALLEST) == pytest.approx(10)
    for shape, ms in HOST.items():
        assert p95(bench(), shape) == pytest.approx(10 * ms / HOST[SMALLEST])


@given(st.floats(0.01, 100))
def test_a_faster_host_changes_nothing(host_speed: float) -> None:
    assert p95(bench(host_speed=host_speed), LARGEST) == pytest.approx(p95(bench(), LARGEST))


@pytest.mark.parametrize("gain", [0.75, 1.6])
def test_float32_shows_nothing_of_the_int8_path(gain: float) -> None:
    device = bench(int8_gain=gain)
    slow = p95(device, SMALLEST, quantised=False)
    assert p95(device, SMALLEST) == pytest.approx(gain * slow)
    assert p95(device, SMALLEST) == pytest.approx(10)  # the anchor is of int8


def test_weights_beyond_the_cache_cost_the_cliff() -> None:
    small, large = (weights_bytes(CARD, each, quantised=True) for each in (SMALLEST, LARGEST))
    device = bench(cache_bytes=(small + large) // 2, cache_factor=1.5)
    assert p95(device, SMALLEST) == pytest.approx(p95(bench(), SMALLEST))
    assert p95(device, LARGEST) == pytest.approx(1.5 * p95(bench(), LARGEST))


def test_fewer_bits_fit_the_cache_better() -> None:
    four = LARGEST.model_copy(update={"bits": 4})
    device = bench(cache_bytes=weights_bytes(CARD, four, quantised=True))
    assert p95(device, four) == pytest.approx(p95(bench(), four))
    assert p95(device, LARGEST) > p95(bench(), LARGEST)


def test_noise_comes_from_the_seed_alone() -> None:
    one, again, other = (bench(seed, noise_sd=0.03) for seed in (1, 1, 2))
    assert p95(one, LARGEST) == p95(again, LARGEST) != p95(other, LARGEST)
    p50, tail = one.latency_ms(CARD, LARGEST, 1, quantised=True, seed=0)
    nominal = p95(bench(), LARGEST)
    assert p50 == pytest.approx(nominal, rel=0.02)
    assert tail == pytest.approx(nominal * np.exp(1.645 * 0.03), rel=0.02)


@pytest.mark.parametrize(("declared", "real", "count"), [(10**6, 1_700, 2), (1_700, 10**6, 2)])
def test_probes_fit_what_the_profile_says_and_what_the_device_has(declared, real, count) -> None:
    work = ProbeWork(
        job_id="job-1",
        node="probe",
        attempt=1,
        card=CARD,
        students=tiny.family().table.probes,
        memory_bytes=declared,
        cpu_cores=1,
    )
    assert len(bench(memory_bytes=real).probe(work)) == count


def test_a_student_that_exceeds_the_memory_is_refused() -> None:
    recipes = weights_chunks(tiny.family().table, LARGEST)
    chunks = [weights_chunk(tiny.family(), recipe) for recipe in recipes]
    assert bench().answers(CARD, LARGEST, chunks)
    with pytest.raises(Invalid, match="takes"):
        bench(memory_bytes=1_000).answers(CARD, LARGEST, chunks)
