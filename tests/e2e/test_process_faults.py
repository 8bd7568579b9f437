"""Kill -9 of everything that one job depends on, each while it is in use: it ends the same.

A worker that compresses is killed in test_chaos.py, and the vault in a registration.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from cluster_house import House
from test_loop import EASY, agent

from edge_sim.chaos import REPLICA, own_processes, title
from stillhouse.edge.agent import Agent
from stillhouse.entities import Plan
from stillhouse.ids import shard_of
from stillhouse.wire.messages import JobStatus

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0
CHECK_S = 0.02
MODEL = "waves-faults"
PLANNER, VAULT = "ray::r1.plan", "ray::ModelVault"


class Strikes:
    """Kills each victim once, as soon as its device is heard of what needs it."""

    def __init__(self, house: House) -> None:
        self.killed: list[str] = []
        self.client_id = ""
        self._house = house
        self.planning = threading.Thread(target=self._kill_planner_and_vault)
        self._moments: dict[str, Callable[[], None]] = {
            "probe": self._suspend_vault,
            "r1.transfer.0": lambda: self._kill_actor("chunk server", house.wiring.chunk_server),
            "r1.train": lambda: self._kill("replica", running(REPLICA.format(app="stillhouse"))),
            "r1.measure": self._kill_manager,
        }

    def heard(self, doing: str) -> None:
        if strike := self._moments.pop(doing, None):
            strike()

    def _suspend_vault(self) -> None:
        """So that the plan, which asks it for the family's table, surely waits for it."""
        os.kill(running(VAULT), signal.SIGSTOP)
        self.planning.start()

    def _kill_planner_and_vault(self) -> None:
        planner = running(PLANNER)
        self._kill("planner", planner)
        running(PLANNER, other_than=planner)
        self._kill("vault", running(VAULT))

    def _kill_manager(self) -> None:
        managers = self._house.wiring.managers
        self._kill_actor("job manager", managers[shard_of(self.client_id, len(managers))])

    def _kill_actor(self, victim: str, actor: Any) -> None:
        self._kill(victim, ray.get(actor.ready.remote()))

    def _kill(self, victim: str, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed.append(victim)


def running(name: str, other_than: int = 0) -> int:
    """The process of this run whose title begins so, as soon as there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for each in own_processes():
            if title(each).startswith(name) and each.pid != other_than:
                return each.pid
        time.sleep(CHECK_S)
    raise AssertionError(f"there is no {name}")


def ended(device: Agent, house: House) -> JobStatus:
    job = device.submit(MODEL, device.declare(EASY).id)
    device.run(wait_s=5)
    return house.ended(job.id)


def unseeded(plan: Plan) -> Plan:
    """The seed of the training follows from the job's id."""
    training = plan.training and plan.training.model_copy(update={"seed": 0})
    return plan.model_copy(update={"training": training})


def test_one_job_outlives_all_that_it_depends_on(house: House, tmp_path: Path) -> None:
    house.register(MODEL)
    with agent(house, tmp_path, "undisturbed") as device:
        calm = ended(device, house)
    strikes = Strikes(house)
    with agent(house, tmp_path, "struck", strikes.heard) as device:
        strikes.client_id = device.client_id
        struck = ended(device, house)
    strikes.planning.join()
    assert sorted(strikes.killed) == ["chunk server", "job manager", "planner", "replica", "vault"]
    assert calm.verdict is not None
    assert struck.verdict is not None
    assert struck.verdict.kind == calm.verdict.kind == "MET"
    assert [unseeded(plan) for plan in struck.plans] == [unseeded(plan) for plan in calm.plans]
    assert [(n.id, n.state) for n in struck.graph] == [(n.id, n.state) for n in calm.graph]
    assert {n.attempt for n in struck.graph} == {n.attempt for n in calm.graph}
    assert struck.transfers == calm.transfers
