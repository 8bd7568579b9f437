"""Cancelling a job on a real cluster ends the task that runs for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster_house import House
from test_loop import EASY, agent, run

from edge_sim.chaos import own_processes, title

pytestmark = pytest.mark.slow
PATIENCE_S = 60


@contextmanager
def paused(actor: str) -> Iterator[None]:
    """The actor's process stands still: whatever asks it waits."""
    [process] = [each for each in own_processes() if title(each).startswith(f"ray::{actor}")]
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def runs(task: str) -> bool:
    """Whether a worker of this run has it as its title."""
    return f"ray::{task}" in {title(each) for each in own_processes()}


def test_a_cancelled_jobs_task_is_stopped_and_nothing_of_it_stays_open(
    house: House, tmp_path: Path
) -> None:
    house.register("waves-cancel")
    with agent(house, tmp_path, "cancelling") as device:
        run(device, "waves-cancel")  # its calibration is known: the next job plans at once
        profile = device.declare(EASY)
        with paused("ModelVault"):  # the plan waits for the family's table
            job = device.submit("waves-cancel", profile.id)
            task = f"r1.plan {job.id}"
            until(lambda: runs(task))
            device.http.command("POST", f"/distillation_jobs/{job.id}/cancel")
            until(lambda: not runs(task))
        again = run(device, "waves-cancel")
    status = house.ended(job.id)
    assert status.job.state == "CANCELLED"
    assert {node.state for node in status.graph} == {"SUCCEEDED", "CANCELLED"}
    assert "cancelled by" in status.why
    verdict = house.ended(again).verdict
    assert verdict is not None
    assert verdict.kind == "MET"
