"""The shard's rules: what each command decides. Pure; time, ids and drawn secrets are arguments.

`step` changes nothing and never scans: it raises NotLoaded for rows that `reads` did not name. A
command that is refused leaves no event. The handlers are in `submission`, `loop`, `profiles`,
`enrolment`, `faults` and `catalogue`; what an event changes is in `evolve`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from stillhouse.authorization import authorize
from stillhouse.catalogue import announce, announce_prior, move_cursor
from stillhouse.commands import (
    Acknowledge,
    AddKeys,
    Announce,
    AnnouncePrior,
    Arrive,
    Cancel,
    Compressed,
    ConfirmEnrolment,
    CreateProfile,
    Decided,
    DeleteProfile,
    EffectFailed,
    Enrol,
    Expire,
    MoveCursor,
    Planned,
    Renew,
    ReplaceProfile,
    ReplayDeadLetter,
    ReportInstallation,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    RevokeKeys,
    Start,
    Submit,
)
from stillhouse.decisions import Answer, Decision, Request
from stillhouse.draft import Draft
from stillhouse.enrolment import add_keys, confirm, open_enrolment, revoke_keys
from stillhouse.entities import Principal
from stillhouse.events import EVENTS
from stillhouse.evolve import evolve, index
from stillhouse.faults import (
    cancel,
    effect_failed,
    expire,
    renew,
    replay_dead_letter,
    start,
)
from stillhouse.loop import (
    acknowledge,
    compressed,
    decided,
    planned,
    report_installation,
    report_metrics,
    report_probes,
    report_progress,
)
from stillhouse.profiles import create_profile, delete_profile, replace_profile
from stillhouse.rows import (
    ROWS,
    Rows,
)
from stillhouse.submission import arrive, submit

__all__ = ["decode", "encode", "encode_event", "evolve", "index", "reads", "step", "stream"]

encode = ROWS.encode
encode_event = EVENTS.encode
STREAMS = EVENTS.first_fields()


def decode(key: str, data: bytes) -> Any:  # noqa: ARG001  the class stands in the data
    return ROWS.decode(data)


def stream(event: Any) -> str:
    """The id whose story the event belongs to."""
    return str(getattr(event, STREAMS[type(event)]))


def reads(request: Request) -> frozenset[str]:
    """Keys of the rows that the command surely needs; `step` asks for others as it meets them."""
    command = request.command
    names = ("client_id", "profile_id", "job_id", "delivery_id", "enrolment_id", "letter_id")
    return frozenset(getattr(command, name) for name in names if hasattr(command, name))


def step(rows: Rows, request: Request, now: float) -> Decision:
    """Decide on one command; a Refusal means that nothing changes."""
    command = request.command
    authorize(request.principal, type(command).__name__)
    draft = Draft(rows, now)
    answer = HANDLERS[type(command)](draft, request.principal, command)
    return draft.decision(answer)


HANDLERS: Mapping[type, Callable[[Draft, Principal, Any], Answer]] = {
    Enrol: open_enrolment,
    ConfirmEnrolment: confirm,
    AddKeys: add_keys,
    RevokeKeys: revoke_keys,
    CreateProfile: create_profile,
    ReplaceProfile: replace_profile,
    DeleteProfile: delete_profile,
    Submit: submit,
    Cancel: cancel,
    ReportProbes: report_probes,
    ReportProgress: report_progress,
    ReportMetrics: report_metrics,
    Acknowledge: acknowledge,
    ReportInstallation: report_installation,
    Announce: announce,
    AnnouncePrior: announce_prior,
    Arrive: arrive,
    MoveCursor: move_cursor,
    ReplayDeadLetter: replay_dead_letter,
    Start: start,
    Renew: renew,
    Planned: planned,
    Compressed: compressed,
    Decided: decided,
    EffectFailed: effect_failed,
    Expire: expire,
}
