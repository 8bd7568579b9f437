"""Kill -9 of everything that one job depends on, each while it is in use: it ends the same."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from cluster_house import House
from test_loop import EASY, agent

from edge_sim.chaos import REPLICA, own_processes, title
from stillhouse.edge.agent import Agent
from stillhouse.entities import ProfileSpec
from stillhouse.ids import shard_of
from stillhouse.wire.messages import JobStatus

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0
CHECK_S = 0.02
MODEL = "waves-faults"
TIGHT = EASY.model_copy(update={"latency_p95_ms": 0.5})  # too slow, whatever it is: more rounds
VICTIMS = {"planner", "vault", "chunk server", "replica", "job manager"}


class Strikes:
    """Kills each victim once, as soon as a device is heard of what needs it."""

    def __init__(self, house: House) -> None:
        self.killed: list[str] = []
        self._house = house
        self._client_id = ""
        self._planning = threading.Thread(target=self._kill_planner_and_vault)
        self._moments: dict[str, Callable[[], None]] = {
            "probe": self._suspend_vault,
            "r1.transfer.0": self._kill_chunk_server,
            "r1.train": self._kill_replica,
            "r1.measure": self._kill_manager,
        }

    def heard(self, doing: str) -> None:
        if strike := self._moments.pop(doing, None):
            strike()

    def of(self, device: Agent) -> None:
        self._client_id = device.client_id

    def join(self) -> None:
        self._planning.join()

    def _suspend_vault(self) -> None:
        """So that the plan, which asks it for the family's table, surely waits for it."""
        signal_to(running("ray::ModelVault"), signal.SIGSTOP)
        self._planning.start()

    def _kill_planner_and_vault(self) -> None:
        planner = running("ray::r1.plan")
        self._kill("planner", planner)
        running("ray::r1.plan", other_than=planner)
        self._kill("vault", running("ray::ModelVault"))

    def _kill_chunk_server(self) -> None:
        self._kill("chunk server", ray.get(self._house.wiring.chunk_server.ready.remote()))

    def _kill_replica(self) -> None:
        self._kill("replica", running(REPLICA.format(app="stillhouse")))

    def _kill_manager(self) -> None:
        managers = self._house.wiring.managers
        manager = managers[shard_of(self._client_id, len(managers))]
        self._kill("job manager", ray.get(manager.ready.remote()))

    def _kill(self, victim: str, pid: int) -> None:
        signal_to(pid, signal.SIGKILL)
        self.killed.append(victim)


def signal_to(pid: int, kind: signal.Signals) -> None:
    os.kill(pid, kind)


def running(name: str, other_than: int = 0) -> int:
    """The process of this run that has such a title, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = [each.pid for each in own_processes() if title(each).startswith(name)]
        if others := [pid for pid in found if pid != other_than]:
            return others[0]
        assert time.monotonic() < deadline, f"there is no {name}"
        time.sleep(CHECK_S)


def ended(device: Agent, house: House, spec: ProfileSpec) -> JobStatus:
    job = device.submit(MODEL, device.declare(spec).id)
    device.run(wait_s=5)
    return house.ended(job.id)


@pytest.mark.parametrize("spec", [EASY, TIGHT], ids=["easy", "tight"])
def test_one_job_outlives_all_that_it_depends_on(
    house: House, tmp_path: Path, spec: ProfileSpec
) -> None:
    house.register(MODEL)
    with agent(house, tmp_path, f"calm {spec.latency_p95_ms}") as device:
        calm = ended(device, house, spec)
    strikes = Strikes(house)
    with agent(house, tmp_path, f"struck {spec.latency_p95_ms}", strikes.heard) as device:
        strikes.of(device)
        struck = ended(device, house, spec)
    strikes.join()
    assert set(strikes.killed) == VICTIMS
    assert struck.verdict is not None
    assert calm.verdict is not None
    print(calm.verdict, struck.verdict, calm.plans, struck.plans, sep="\n")
    assert struck.verdict.kind == calm.verdict.kind
    assert struck.verdict.binding_constraint == calm.verdict.binding_constraint
    assert struck.plans == calm.plans
    assert [(n.id, n.state) for n in struck.graph] == [(n.id, n.state) for n in calm.graph]
    assert {n.attempt for n in struck.graph if n.kind == "transfer"} == {1}
    assert struck.transfers == calm.transfers
