"""Kill -9 of each kind of process while two devices work: the same verdicts, the same graphs."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import ray
import tiny
from cluster_house import House

from edge_sim.chaos import Chaos, Kill, Planned, Victim, own_processes, plan, title
from edge_sim.fleet import Fleet
from edge_sim.host import Factory, Person, Standing
from edge_sim.scenario import Device, DeviceModel
from stillhouse.entities import ProfileSpec
from stillhouse.wire.messages import JobStatus

pytestmark = pytest.mark.slow
SEED = 3
SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=1_000_000,
    storage_bytes=100_000,
    latency_p95_ms=50,
    max_accuracy_drop=0.9,
)
MODEL = DeviceModel(anchor_latency_ms=2, memory_bytes=2_000_000)
RUN_S = 60.0
Ended = list[tuple[Standing, JobStatus]]


def device(name: str, person: int, latency_ms: float) -> Device:
    spec = SPEC.model_copy(update={"latency_p95_ms": latency_ms})
    return Device(
        name=name, person=person, submit="after_model", feasible=None, profile=spec, model=MODEL
    )


def play(house: House, folder: Path, case: str, planned: Sequence[Planned]) -> tuple[Ended, Chaos]:
    """Two people, a device each, on two hosts; where each job stands when all have come to rest."""
    devices = [device(f"{case}-watch", 0, 50), device(f"{case}-tag", 1, 0.5)]
    factory = Factory(
        url=house.url,
        folder=folder / "devices",
        seed=SEED,
        architecture=tiny.ARCHITECTURE,
        preprocessing=tiny.PRE,
        public_windows=tiny.family().public.to_bytes(),
        grid=tiny.GRID,
    )
    people = {n: Person(*(tiny.recordings(n + k).to_parquet() for k in (5, 6, 7))) for n in (0, 1)}
    fleet = Fleet(factory, people)
    fleet.add(devices)
    try:
        with Chaos(planned, house.wiring, fleet.hosts) as chaos:
            fleet.submit([each.name for each in devices], "waves-chaos")
            deadline = time.monotonic() + RUN_S
            while fleet.working() and time.monotonic() < deadline:
                time.sleep(0.1)
        standings = fleet.standings()
        return [(standings[d.name], house.ended(standings[d.name].job_id)) for d in devices], chaos
    finally:
        for host in fleet.hosts.values():
            ray.kill(host)


def verdicts(ended: Ended) -> list[tuple[str, str | None]]:
    return [(s.verdict.kind, s.verdict.binding_constraint) for _, s in ended if s.verdict]


def graphs(ended: Ended) -> list[list[tuple[str, str]]]:
    return [[(node.id, node.state) for node in status.graph] for _, status in ended]


@pytest.fixture(scope="module")
def calm(house: House, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    house.register("waves-chaos")
    return play(house, tmp_path_factory.mktemp("calm"), "calm", ())[0]


def forget(house: House) -> None:
    """Packs and opened families are kept in processes; without them there is something to do."""
    for each in own_processes():
        if title(each) == "ray::IDLE":
            each.send_signal(signal.SIGKILL)
    old = ray.get(house.wiring.chunk_server.ready.remote())
    os.kill(old, signal.SIGKILL)
    while ray.get(house.wiring.chunk_server.ready.remote()) == old:
        time.sleep(0.05)


@pytest.mark.parametrize("victim", list(Victim))
def test_whatever_is_killed_the_run_ends_as_if_nothing_had_been(
    house: House, tmp_path: Path, calm: Ended, victim: Victim
) -> None:
    if victim is Victim.WORKER:
        forget(house)
    struck, chaos = play(house, tmp_path, f"struck-{victim}", plan(SEED, 2, [victim]))
    assert [kill.victim for kill in chaos.kills] == [victim]
    assert not any(psutil.pid_exists(kill.pid) for kill in chaos.kills)
    assert verdicts(struck) == verdicts(calm)
    assert graphs(struck) == graphs(calm)
    assert sum(standing.chunks_sent_again for standing, _ in struck) <= len(chaos.kills)
    print(chaos.kills)
