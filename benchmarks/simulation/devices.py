"""Devices: each has at most one unanswered request, which it repeats until there is an answer."""

from typing import Any

from actors.reading import ClientWork, OpenJob
from benchmarks.makers import PROBES
from benchmarks.simulation.cast import SHARDS, ack, metric
from stillhouse.commands import (
    Acknowledge,
    ReportInstallation,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
)
from stillhouse.decisions import Request
from stillhouse.entities import Principal
from stillhouse.errors import Unavailable
from stillhouse.grants import grant
from stillhouse.ids import derived_id, shard_of
from stillhouse.jobs import Job, Kind, State
from stillhouse.rows import DeliveryRow


class Device:
    """A client: what it asks for is decided by the work that its shard shows it."""

    def __init__(self, who: Principal) -> None:
        self.who, self.shard = who, shard_of(who.id, SHARDS)
        self.unanswered: Request | None = None
        self._keys = self._marks = self._jobs = 0

    def request(self, command: Any) -> Request:
        """With a key of its own."""
        self._keys += 1
        key = f"{self.who.id}/{self._keys}"
        return Request(key, f"digest of {key}", self.who, command)

    def mark(self) -> int:
        """What tells a metric from every other."""
        self._marks += 1
        return self._marks

    def new_job(self) -> str:
        self._jobs += 1
        return derived_id("job", self.who.id, self._jobs)

    def heard(self, request: Request, outcome: object) -> None:
        """An answer came; for one that could not be given now it will ask again."""
        if request is self.unanswered and not isinstance(outcome, Unavailable):
            self.unanswered = None

    def next_command(self, work: ClientWork, how: int, now: float) -> Any:
        """What is to be done next for one of its open jobs; None if nothing is."""
        found = [(each, node) for each in work.jobs for node in open_nodes(each)]
        if not found:
            return None
        each, node = found[how % len(found)]
        return self._command(each, node, how, now)

    def _command(self, each: OpenJob, node: Job, how: int, now: float) -> Any:
        job, delivery = each.job, each.delivery
        match node.kind:
            case Kind.PROBE:
                return ReportProbes(job.id, node.attempt, PROBES)
            case Kind.TRANSFER:
                assert delivery is not None
                index = int(node.id.rpartition(".")[2])
                if now < delivery.expires_at:
                    grant(delivery, job, self.who, index, now)  # the chunk is streamed: I2
                return Acknowledge(delivery.id, index, ack(delivery.id, index))
            case Kind.TRAIN:
                done = how % 4 > 0
                return ReportProgress(self.who.id, job.id, node.id, node.attempt, 0.5, done)
            case _:
                if delivery and delivery.id not in job.installations:
                    return installation(delivery)
                return ReportMetrics(job.id, metric(job.round, self.mark()))


def open_nodes(each: OpenJob) -> list[Job]:
    """What waits for the device."""
    return [node for node in each.job.graph.values() if node.state is State.WAITING_CLIENT]


def installation(delivery: DeliveryRow) -> ReportInstallation:
    return ReportInstallation(delivery.id, delivery.envelope_digest, delivery.version, ((1.0,),))
