"""What the clients of a killed shard ask for: whatever their jobs' rows say is next.

All that is sent follows from a client's number and its job's, so that a repeat after a kill is the
same request under the same key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

from benchmarks.control.workload import Client, keyed, whole_job
from benchmarks.makers import SPEC
from stillhouse.commands import (
    Acknowledge,
    ReplaceProfile,
    ReportInstallation,
    ReportMetrics,
    ReportProbes,
    Submit,
)
from stillhouse.decisions import Request
from stillhouse.entities import JobState
from stillhouse.jobs import State
from stillhouse.rounds import transfer_id
from stillhouse.rows import DistillationJobRow

CHUNKS = 3
SUBMIT, INSTALL, TRAIN = "submit", "install", "r1.train"


@cache
def script(client: Client, number: int) -> Mapping[str, Request]:
    """A job's requests, by the node that each ends."""
    requests = whole_job(client, number, CHUNKS, turns=False)
    return {place_of(request.command): request for request in requests}


def place_of(command: Any) -> str:
    match command:
        case Submit():
            return SUBMIT
        case ReportInstallation():
            return INSTALL
        case ReportProbes():
            return "probe"
        case ReportMetrics():
            return "r1.measure"
        case Acknowledge():
            return transfer_id(1, command.index)
        case _:
            return str(command.node)


@dataclass(slots=True)
class Device:
    """A client, and which of its jobs is the one at hand."""

    client: Client
    number: int = 1

    @property
    def job_id(self) -> str:
        return self.client.job_id(self.number)

    def next(self, rows: Mapping[str, Any]) -> Iterator[Request]:
        """What it sends now; `rows` are its profile's and its job's."""
        job: DistillationJobRow | None = rows[self.job_id]
        if rows[self.client.profile_id] is None:
            yield from joining(self.client)
        elif job is None:
            yield from opening(self.client, self.number)
        elif job.state is JobState.ENDED:
            self.number += 1
        else:
            yield from self._work(job)

    def _work(self, job: DistillationJobRow) -> Iterator[Request]:
        requests = script(self.client, self.number)
        for node in job.graph.values():
            if node.state is State.WAITING_CLIENT:
                if node.id == TRAIN:
                    yield requests[INSTALL]
                yield requests[node.id]


def joining(client: Client) -> Iterator[Request]:
    """Enrolment and profile; each with a key, as it comes from outside."""
    for place, request in enumerate(client.enrolled()):
        key = f"{client.principal.id}/{place}"
        yield replace(request, key=key, digest=key)


def opening(client: Client, number: int) -> Iterator[Request]:
    """Before each job but the first, the profile is replaced: its revision counts the jobs."""
    who, job = client.principal, client.job_id(number)
    if number > 1:
        command = ReplaceProfile(who.id, client.profile_id, SPEC, number - 1)
        yield keyed(who, command, f"{job}/profile")
    yield script(client, number)[SUBMIT]


def result_of(clients: Mapping[str, Client], job: DistillationJobRow, node: str) -> Request:
    """What an effect of the cluster comes to."""
    client = clients[job.client_id]
    number = next(each for each in count(1) if client.job_id(each) == job.id)
    return script(client, number)[node]
