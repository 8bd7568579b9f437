"""The same chain of twelve dependent jobs here and in a general durable queue, round by round.

Ours: plan, compress, seven transfers, train, measure, decide; each starts only after the one before
it succeeded, and each end is durable before it is acknowledged. Two shards, as a deployment has by
default, in processes of their own. Theirs is in benchmarks/general_queue.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.control.durable import CALLERS, Calls, Shard, play, race
from benchmarks.control.workload import Client, announced, whole_job
from benchmarks.general_queue import CHAIN, measure_procrastinate
from benchmarks.postgres import running
from benchmarks.report import Value
from stillhouse.decisions import Request

TRANSFERS = CHAIN - 5  # the others: plan, compress, train, measure, decide
SIDE_BY_SIDE = 100  # chains that each caller has in hand
SHARDS = 2  # as many as the machine has cores, as a deployment has by default


def measure_chain(folder: Path, chains: int, rounds: int) -> Iterator[dict[str, Value]]:
    """Rounds of ours and theirs in turn; `jobs_per_s` are jobs of a chain."""
    with running() as server:
        facts = server.facts()
        for round in range(rounds):
            theirs = measure_procrastinate(chains, server)
            yield {"part": "chain", "round": round, "queue": "procrastinate", **facts, **theirs}
            yield {"part": "chain", "round": round, "queue": "stillhouse", **ours(folder, chains)}


def ours(folder: Path, chains: int) -> dict[str, Value]:
    """One round on fresh journals."""
    laps = race(folder, chains, SHARDS, prepare)
    wall = max(lap.ended for lap in laps) - min(lap.began for lap in laps)
    jobs, cpu = chains * CHAIN, sum(lap.cpu_s for lap in laps)
    return {"chains": chains, "jobs": jobs, "wall_s": wall, "cpu_s": cpu, "jobs_per_s": jobs / wall}


def prepare(shard: Shard, clients: Sequence[Client]) -> Sequence[Calls]:
    """Each client has a profile, and the calibration that its first job left."""
    setup = [announced(), *(each for client in clients for each in client.enrolled())]
    shard.apply(setup)
    for first in range(0, len(clients), SIDE_BY_SIDE):
        scripts = [whole_job(each, 1, 1) for each in clients[first : first + SIDE_BY_SIDE]]
        play(shard, list(map(list, zip(*scripts, strict=True))))
    return [list(calls(clients[each::CALLERS])) for each in range(CALLERS)]


def calls(clients: Sequence[Client]) -> Iterator[list[Request]]:
    """Chains side by side: each call moves each of them by one command."""
    for first in range(0, len(clients), SIDE_BY_SIDE):
        some = clients[first : first + SIDE_BY_SIDE]
        scripts = [whole_job(client, 2, TRANSFERS, probes=False) for client in some]
        yield from map(list, zip(*scripts, strict=True))


def times_as_fast(rows: list[dict[str, Value]]) -> float:
    """Median of the rounds' ratios."""
    rates: dict[tuple[Value, Value], float] = {
        (row["round"], row["queue"]): float(row["jobs_per_s"]) for row in rows
    }
    rounds = {round for round, _ in rates}
    return median(rates[each, "stillhouse"] / rates[each, "procrastinate"] for each in rounds)
