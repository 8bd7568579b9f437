"""Kill -9 of each kind of process while two devices work: the same verdicts, the same graphs."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence

import psutil
import pytest
import ray
import tiny
from cluster_house import House

from edge_sim.chaos import Chaos, Kill, Planned, Victim, own_processes, plan, process, title
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
COLD = ("cold-0", "cold-1", "cold-2")  # more cases: on a busy machine a compression can be missed
OTHERS = [victim for victim in Victim if victim is not Victim.WORKER]
Ended = list[tuple[Standing, JobStatus]]


def pair(case: str) -> list[Device]:
    """Two people's devices: one whose limits can be met, one that is always too slow."""
    return [device(f"{case}-watch", 0, 50), device(f"{case}-tag", 1, 0.5)]


def device(name: str, person: int, latency_ms: float) -> Device:
    spec = SPEC.model_copy(update={"latency_p95_ms": latency_ms})
    return Device(
        name=name, person=person, submit="after_model", feasible=None, profile=spec, model=MODEL
    )


@pytest.fixture(scope="module")
def fleet(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A host a person; on each a device for every case."""
    house.register("waves-chaos")
    factory = Factory(
        url=house.url,
        folder=tmp_path_factory.mktemp("devices"),
        seed=SEED,
        architecture=tiny.ARCHITECTURE,
        preprocessing=tiny.PRE,
        public_windows=tiny.family().public.to_bytes(),
        grid=tiny.GRID,
    )
    people = {n: Person(*(tiny.recordings(n + k).to_parquet() for k in (5, 6, 7))) for n in (0, 1)}
    fleet = Fleet(factory, people)
    fleet.add([each for case in ("calm", *OTHERS, *COLD) for each in pair(case)])
    yield fleet
    for host in fleet.hosts.values():
        ray.kill(host)


def play(house: House, fleet: Fleet, case: str, planned: Sequence[Planned]) -> tuple[Ended, Chaos]:
    """The case's two jobs at once; where each stands when its device has come to rest."""
    names = [each.name for each in pair(case)]
    with Chaos(planned, house.wiring, fleet.hosts) as chaos:
        fleet.submit(names, "waves-chaos")
        deadline = time.monotonic() + RUN_S
        while fleet.working() and time.monotonic() < deadline:
            time.sleep(0.1)
    standings = fleet.standings()
    return [(standings[name], house.ended(standings[name].job_id)) for name in names], chaos


def verdicts(ended: Ended) -> list[tuple[str, str | None]]:
    return [(s.verdict.kind, s.verdict.binding_constraint) for _, s in ended if s.verdict]


def graphs(ended: Ended) -> list[list[tuple[str, str]]]:
    return [[(node.id, node.state) for node in status.graph] for _, status in ended]


@pytest.fixture(scope="module")
def calm(house: House, fleet: Fleet) -> Ended:
    return play(house, fleet, "calm", ())[0]


def forget(house: House) -> None:
    """Packs and opened families are kept in processes; without them there is something to do."""
    for each in own_processes():
        if title(each) == "ray::IDLE":
            each.send_signal(signal.SIGKILL)
    old = ray.get(house.wiring.chunk_server.ready.remote())
    os.kill(old, signal.SIGKILL)
    while ray.get(house.wiring.chunk_server.ready.remote()) == old:
        time.sleep(0.05)


def check(struck: Ended, calm: Ended, chaos: Chaos) -> None:
    assert not any(psutil.pid_exists(kill.pid) for kill in chaos.kills)
    assert verdicts(struck) == verdicts(calm)
    assert graphs(struck) == graphs(calm)
    assert sum(standing.chunks_sent_again for standing, _ in struck) <= len(chaos.kills)


@pytest.mark.parametrize("victim", OTHERS)
def test_whatever_is_killed_the_run_ends_as_if_nothing_had_been(
    house: House, fleet: Fleet, calm: Ended, victim: Victim
) -> None:
    struck, chaos = play(house, fleet, victim, plan(SEED, 2, [victim]))
    assert [kill.victim for kill in chaos.kills] == [victim]
    assert all(kill.back_after_s is not None for kill in chaos.kills)
    check(struck, calm, chaos)


def test_a_worker_killed_while_it_compresses_is_replaced(
    house: House, fleet: Fleet, calm: Ended
) -> None:
    kills: list[Kill] = []
    for case in COLD:
        forget(house)
        struck, chaos = play(house, fleet, case, plan(SEED, 2, [Victim.WORKER]))
        check(struck, calm, chaos)
        kills += chaos.kills
        if kills:
            break
    assert [kill.victim for kill in kills] == [Victim.WORKER]


def test_a_vault_killed_in_a_registration_comes_back_and_finishes_it(house: House) -> None:
    struck: list[int] = []

    def strike() -> None:
        deadline = time.monotonic() + RUN_S
        while not struck and time.monotonic() < deadline:
            vault = process("ray::ModelVault") if process("ray::evaluate waves-vault") else None
            if vault is not None:
                os.kill(vault.pid, signal.SIGKILL)
                struck.append(vault.pid)

    thread = threading.Thread(target=strike)
    thread.start()
    version = house.register("waves-vault")
    thread.join()
    assert struck
    assert version.state == "AVAILABLE"
