"""Kills through Ray: JobManagers and API replicas of a real deployment, callers at work.

At the end each shard's journal is audited, and held against what the clients were told.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from actors.job_manager import identity
from benchmarks.kills.audit import Auditor, Findings
from benchmarks.kills.callers import Client, Poller, identities, outage_s
from edge_sim.chaos import NOBODY, REPLICA, Target, actor, process
from edge_sim.deployment import Deployment, deployment
from stillhouse.entities import FamilyGrid, JobState
from stillhouse.ids import shard_of
from stillhouse.rows import DistillationJobRow

REPLICA_KILLS = 4
CLIENTS = 2  # of each shard
LONGEST_S = 1.0  # between a kill that is over and the next
SETTLE_S = 0.5  # after a successor answers, for pollers to see it
PATIENCE_S = 30.0
CHECK_S = 0.02


@dataclass(frozen=True, slots=True)
class Kill:
    """One process, and what was seen of its end."""

    victim: str
    back_after_s: float
    outage_s: float  # of the poller that saw the longest


@dataclass(slots=True)
class Struck:
    """What the kills came to."""

    kills: list[Kill] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    requests: int = 0  # of clients that use the SDK
    failed: list[str] = field(default_factory=list)
    polls_failed: int = 0

    def outage_s(self, victim: str) -> float:
        return max(kill.outage_s for kill in self.kills if kill.victim == victim)


def kill_through_ray(
    count: int, seed: int, folder: Path, heard: Callable[[Kill], None] = lambda _: None
) -> Struck:
    """Kill as many JobManagers, and some replicas, at moments drawn from the seed."""
    struck, chance = Struck(), random.Random(seed)
    with deployment(folder, FamilyGrid()) as house:
        shards = range(house.settings.shards)
        found = [identities(shard, len(shards)) for shard in shards]
        clients = [Client(house.url, next(each)) for each in found for _ in range(CLIENTS)]
        pollers = [Poller(house.url, next(each)) for each in found]
        with ExitStack() as work:
            for caller in (*clients, *pollers):
                work.enter_context(caller)
            for victim, target in targets(house, count):
                time.sleep(chance.uniform(0.1, LONGEST_S))
                struck.kills.append(kill(victim, target(), pollers))
                heard(struck.kills[-1])
        for shard in shards:
            audit(house, shard, clients, struck.findings)
    struck.requests = sum(client.requests for client in clients)
    struck.failed = [failure for client in clients for failure in client.failed]
    struck.polls_failed = sum(poller.failures for poller in pollers)
    return struck


def targets(house: Deployment, count: int) -> Iterator[tuple[str, Callable[[], Target | None]]]:
    """Whom to kill: the shards in turn, then replicas."""
    managers = house.wiring.managers
    for number in range(count):
        yield "shard", partial(actor, managers[number % len(managers)])
    for _ in range(REPLICA_KILLS):
        yield "replica", partial(process, REPLICA.format(app=house.settings.namespace))


def kill(victim: str, target: Target | None, pollers: Sequence[Poller]) -> Kill:
    assert target is not None, f"there is no {victim}"
    began = time.monotonic()
    os.kill(target.pid, signal.SIGKILL)
    while target.successor() in (NOBODY, target.pid):
        assert time.monotonic() < began + PATIENCE_S, f"the {victim} stays away"
        time.sleep(CHECK_S)
    back = time.monotonic() - began
    time.sleep(SETTLE_S)
    return Kill(victim, back, max(outage_s(poller.answered, began) for poller in pollers))


def audit(house: Deployment, shard: int, clients: Sequence[Client], findings: Findings) -> None:
    """The journal, against itself and against what the clients of this shard were told."""
    auditor = Auditor(identity(house.settings, shard), findings)
    auditor.look(house.settings.state / f"shard-{shard}.sqlite")
    for client in clients:
        if shard_of(client.id, house.settings.shards) == shard:
            compare(client, auditor)


def compare(client: Client, auditor: Auditor) -> None:
    """Every job and revision that it was told of, and no others."""
    rows, findings = auditor.rows, auditor.findings
    jobs = {
        id: row
        for id, row in rows.items()
        if isinstance(row, DistillationJobRow) and row.client_id == client.id
    }
    findings.acknowledged += len(client.submitted) + len(client.cancelled) + client.profile.revision
    for id in set(client.submitted) - set(jobs):
        findings.wrong("lost", f"job {id}")
    for id in client.cancelled:
        if id in jobs and jobs[id].state is not JobState.CANCELLED:
            findings.wrong("lost", f"the cancellation of {id}")
    for id in set(jobs) - set(client.submitted):
        findings.wrong("doubled", f"job {id}")
    revision = rows[client.profile.id].profile.revision
    if revision != client.profile.revision:
        kind = "lost" if revision < client.profile.revision else "doubled"
        findings.wrong(kind, f"profile {client.profile.id} is at revision {revision}")
