"""The whole loop on a real cluster, over real HTTP, with a family that builds in seconds."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
import tiny
from cluster_house import House

from edge_sim.device import SimulatedWorkbench
from edge_sim.scenario import DeviceModel
from stillhouse.edge.agent import Agent
from stillhouse.edge.workbench import PrivateData
from stillhouse.entities import ProfileSpec
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity

pytestmark = pytest.mark.slow
EASY = ProfileSpec(
    cpu_cores=1,
    memory_bytes=1_000_000,
    storage_bytes=100_000,
    latency_p95_ms=50,
    max_accuracy_drop=0.9,
)
MODEL = DeviceModel(anchor_latency_ms=2, int8_gain=0.8, memory_bytes=2_000_000)


@contextmanager
def agent(
    house: House, folder: Path, name: str, heard: Callable[[str], None] = lambda _: None
) -> Iterator[Agent]:
    """A device with its person's data; latency is the model's, so no run depends on the host."""
    calibration = {shape: 1.0 + shape.width for shape in tiny.GRID.shapes()}
    private = PrivateData(tiny.recordings(5), tiny.recordings(6))
    bench = SimulatedWorkbench(private, None, MODEL, calibration, seed=0)
    identity = Identity.derive(name.encode())
    device = Agent(SignedClient([house.url], identity), identity, folder / name, bench, heard)
    try:
        device.join()
        yield device
    finally:
        device.http.close()


def run(device: Agent, central_model: str, spec: ProfileSpec = EASY) -> str:
    job = device.submit(central_model, device.declare(spec).id)
    device.run(wait_s=5)
    return job.id


def test_a_job_from_before_its_model_waits_and_then_ends_in_a_verdict(
    house: House, tmp_path: Path
) -> None:
    with agent(house, tmp_path, "early") as device:
        job = device.submit("waves-early", device.declare(EASY).id)
        assert (job.state, job.resolved_version) == ("ACCEPTED", None)
        version = house.register("waves-early")
        device.run(wait_s=5)
    status = house.ended(job.id)
    assert status.verdict is not None
    assert status.verdict.kind == "MET"
    assert status.job.resolved_version == f"waves-early@{version.version}"
    assert {node.state for node in status.graph} == {"SUCCEEDED"}
    assert status.transfers.chunks == status.transfers.chunks_acknowledged >= 1
    assert status.metrics[-1].source == "calibrated"


def test_what_no_student_can_meet_is_shown_infeasible_with_its_constraint(
    house: House, tmp_path: Path
) -> None:
    house.register("waves-tight")
    spec = EASY.model_copy(update={"storage_bytes": 100})
    with agent(house, tmp_path, "tight") as device:
        status = house.ended(run(device, "waves-tight", spec))
    assert status.verdict is not None
    assert status.verdict.kind == "INFEASIBLE"
    assert status.verdict.binding_constraint == "storage_bytes"
    assert status.transfers.bytes == 0


def test_a_second_job_of_a_device_is_sent_nothing_that_it_holds(
    house: House, tmp_path: Path
) -> None:
    house.register("waves-again")
    with agent(house, tmp_path, "again") as device:
        first = house.ended(run(device, "waves-again"))
        second = house.ended(run(device, "waves-again"))
    assert first.transfers.bytes > 0
    assert second.transfers.bytes == 0
    assert second.verdict is not None
    assert "probe" not in {node.kind for node in second.graph}


@pytest.mark.parametrize("moment", ["r1.transfer.0", "r1.train"])
def test_a_job_manager_killed_in_mid_job_comes_back_and_the_job_ends_the_same(
    house: House, tmp_path: Path, moment: str
) -> None:
    house.register("waves-kill")
    with agent(house, tmp_path, f"calm-{moment}") as device:
        calm = house.ended(run(device, "waves-kill"))
    killed = threading.Event()

    def kill_at(doing: str) -> None:
        if doing == moment and not killed.is_set():
            killed.set()
            for manager in house.wiring.managers:
                os.kill(ray.get(manager.ready.remote()), signal.SIGKILL)

    with agent(house, tmp_path, f"struck-{moment}", kill_at) as device:
        struck = house.ended(run(device, "waves-kill"))
    assert killed.is_set()
    assert [(node.id, node.state) for node in struck.graph] == [
        (node.id, node.state) for node in calm.graph
    ]
    assert struck.verdict is not None
    assert calm.verdict is not None
    assert struck.verdict.kind == calm.verdict.kind
    assert struck.transfers == calm.transfers
