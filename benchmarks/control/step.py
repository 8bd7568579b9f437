"""`step` and `evolve` alone: transitions a second on one core, rows in a dictionary."""

import gc
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.control.workload import Client, announced, whole_job
from benchmarks.report import Value
from stillhouse import shard
from stillhouse.decisions import NotLoaded, Request
from stillhouse.events import JobMoved

NOW = 1_800_000_000.0


class Rows(dict[str, Any]):
    """Every row that is asked for is loaded: there is one, or none."""

    def __missing__(self, _: str) -> None:
        return None


def measure_step(jobs: int) -> dict[str, Value]:
    """Whole jobs of as many clients through the rules, CPU seconds."""
    clients = [Client.numbered(number) for number in range(jobs)]
    rows = Rows()
    run(rows, [announced(), *(each for client in clients for each in client.enrolled())])
    requests = [request for client in clients for request in whole_job(client, 1)]
    gc.collect()
    gc.freeze()  # what the benchmark holds is not the rules' garbage
    began = time.process_time()
    moved = run(rows, requests)
    spent_s = time.process_time() - began
    gc.unfreeze()
    return {
        "jobs": jobs,
        "commands": len(requests),
        "transitions": moved,
        "cpu_s": spent_s,
        "step_transitions_per_s": moved / spent_s,
        "step_jobs_per_s": jobs / spent_s,
    }


def run(rows: Rows, requests: Iterable[Request]) -> int:
    """Decide and evolve; how many transitions there were."""
    moved = 0
    for request in requests:
        try:
            decision = shard.step(rows, request, NOW)
        except NotLoaded as missing:
            raise AssertionError(missing) from None
        rows.update(decision.changed)
        moved += sum(1 for event in decision.events if type(event) is JobMoved)
    return moved
