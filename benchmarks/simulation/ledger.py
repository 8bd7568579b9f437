"""What was acknowledged, to whom, and whether it still is so (I4, I5); one for each shard.

Every answer that leaves a shard is written down, whether or not the network loses it: it was given,
so it is true for ever.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.simulation.witness import Violation, Witness, must
from stillhouse.commands import (
    Acknowledge,
    Cancel,
    Compressed,
    Decided,
    EffectFailed,
    Expire,
    MoveCursor,
    Planned,
    ReplaceProfile,
    ReplayDeadLetter,
    ReportInstallation,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    Start,
    Submit,
)
from stillhouse.decisions import Answer, Request
from stillhouse.entities import JobState
from stillhouse.errors import Defect, NotFound, StillhouseError, Unavailable
from stillhouse.jobs import State
from stillhouse.rounds import transfer_id
from stillhouse.rows import CURSOR

LOST, TWICE = "I4 no acknowledged command is lost", "I4 nothing is applied twice"
Held = Callable[[Any, Answer, Any], bool]  # command, its answer, rows


class Ledger:
    """What one shard has promised."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._promises: list[tuple[Request, Answer]] = []
        self._answers: dict[str, Answer] = {}
        self._started: set[tuple[str, str, int]] = set()
        self.strange: set[str] = set()  # keys of requests on what belongs to others

    def note(self, request: Request, outcome: Answer | StillhouseError) -> None:
        """An answer leaves the shard."""
        must(not isinstance(outcome, Defect), "the rules have no bug", request.command, outcome)
        if request.key in self.strange:
            refused = isinstance(outcome, NotFound | Unavailable)
            must(refused, "I5 strangers see nothing", request.command, outcome)
        self._same_as_before(request, outcome)
        if isinstance(outcome, Answer):
            self._once(request.command)
            self._promises.append((request, outcome))
            self._check(request, outcome)

    def check(self) -> None:
        """Everything that was ever acknowledged."""
        for request, answer in self._promises:
            self._check(request, answer)

    def _same_as_before(self, request: Request, outcome: Answer | StillhouseError) -> None:
        """What was given and kept under a key is given again, if anything is."""
        if isinstance(outcome, Answer) and request.key in self._witness.volume.answers:
            self._answers.setdefault(request.key, outcome)
        first = self._answers.get(request.key, outcome)
        same = first == outcome or isinstance(outcome, Unavailable)
        must(same, "I4 the same key, the same answer", request.command, outcome)

    def _once(self, command: Any) -> None:
        if isinstance(command, Start):
            start = (command.job_id, command.node, command.attempt)
            must(start not in self._started, TWICE, command)
            self._started.add(start)

    def _check(self, request: Request, answer: Answer) -> None:
        held = HELD.get(type(request.command))
        if held is not None and not held(request.command, answer, self._witness.rows):
            raise Violation(LOST, request.command)


def _submitted(command: Submit, _: Answer, rows: Any) -> bool:
    job = rows[command.job_id]
    return job is not None and job.client_id == command.client_id


def _cancelled(command: Cancel, _: Answer, rows: Any) -> bool:
    return bool(rows[command.job_id].state is JobState.CANCELLED)


def _acknowledged(command: Acknowledge, _: Answer, rows: Any) -> bool:
    delivery = rows[command.delivery_id]
    node = rows[delivery.job_id].graph[transfer_id(delivery.round, command.index)]
    return bool(node.state is State.SUCCEEDED)


def _installed(command: ReportInstallation, _: Answer, rows: Any) -> bool:
    return command.delivery_id in rows[rows[command.delivery_id].job_id].installations


def _measured(command: ReportMetrics, answer: Answer, rows: Any) -> bool:
    job = rows[command.job_id]
    kept = answer.document["kept"]
    if opened := answer.document["opened_job"]:
        follower = rows[opened]
        if follower is None or follower.follows != job.id or job.followed_by is None:
            return False
    return bool((job.kept_metrics if kept else job.metrics).count(command.metric) == 1)


def _probed(command: ReportProbes, _: Answer, rows: Any) -> bool:
    return bool(rows[command.job_id].probes == command.probes)


def _trained(command: ReportProgress, _: Answer, rows: Any) -> bool:
    node = rows[command.job_id].graph[command.node]
    return bool(node.state is State.SUCCEEDED) if command.done else True


def _replaced(_: ReplaceProfile, answer: Answer, rows: Any) -> bool:
    row = rows[answer.document["id"]]
    return bool(row.profile.revision >= answer.document["revision"])


def _replayed(command: ReplayDeadLetter, _: Answer, rows: Any) -> bool:
    return rows[command.letter_id].replayed_at is not None


def _done(command: Planned | Compressed | Decided, _: Answer, rows: Any) -> bool:
    return bool(rows[command.job_id].graph[command.node].state is State.SUCCEEDED)


def _compressed(command: Compressed, answer: Answer, rows: Any) -> bool:
    return _done(command, answer, rows) and bool(rows[command.job_id].deliveries)


def _attempted(command: EffectFailed | Start, _: Answer, rows: Any) -> bool:
    return bool(rows[command.job_id].graph[command.node].attempt >= command.attempt)


def _expired(command: Expire, _: Answer, rows: Any) -> bool:
    job = rows[command.job_id]
    if not command.node:
        return bool(job.state is JobState.EXPIRED)
    return bool(job.graph[command.node].attempt >= command.attempt)


def _at(command: MoveCursor, _: Answer, rows: Any) -> bool:
    return bool(rows[CURSOR].sequence >= command.sequence)


HELD: dict[type, Held] = {
    Submit: _submitted,
    Cancel: _cancelled,
    Acknowledge: _acknowledged,
    ReportInstallation: _installed,
    ReportMetrics: _measured,
    ReportProbes: _probed,
    ReportProgress: _trained,
    ReplaceProfile: _replaced,
    ReplayDeadLetter: _replayed,
    Planned: _done,
    Compressed: _compressed,
    Decided: _done,
    EffectFailed: _attempted,
    Start: _attempted,
    Expire: _expired,
    MoveCursor: _at,
}
