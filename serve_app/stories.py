"""A job's story in words, and live: what each event means to a person who reads along."""

from collections.abc import AsyncIterator
from typing import Any

from serve_app.backend import Backend
from stillhouse.entities import Verdict
from stillhouse.events import (
    EVENTS,
    Calibrated,
    DeliveryOpened,
    JobClosed,
    JobFollowed,
    JobMoved,
    JobReopened,
    JobsAdded,
    JobSubmitted,
    Judged,
    LetterDied,
    MetricKept,
    MetricReported,
    ModelResolved,
    PlanMade,
)
from stillhouse.jobs import ON_CLUSTER, Move, State
from stillhouse.listing import OPEN
from stillhouse.rounds import kind_of
from stillhouse.rows import DistillationJobRow
from stillhouse.wire.messages import StoryEvent

PAGE = 200  # events read at once
KEEP_ALIVE_S = 15.0
AFTER = {  # the state that a move leads to
    Move.RELEASE: State.READY,
    Move.QUEUE: State.READY,
    Move.REPLAY: State.READY,
    Move.START: State.RUNNING,
    Move.OFFER: State.WAITING_CLIENT,
    Move.SUCCEED: State.SUCCEEDED,
    Move.RETRY: State.READY,
    Move.FAIL: State.FAILED,
    Move.SKIP: State.SKIPPED,
    Move.CANCEL: State.CANCELLED,
}


def told(sequence: int, at: float, data: bytes) -> StoryEvent:
    """A journalled event as people read it."""
    event = EVENTS.decode(data)
    return StoryEvent(
        sequence=sequence,
        at=at,
        event=type(event).__name__,
        node=event.node if isinstance(event, JobMoved) else None,
        state=state_after(event),
        text=words(event),
    )


def state_after(event: Any) -> str | None:
    match event:
        case JobMoved():
            return moved_to(event)
        case JobClosed(state=state):
            return state
    return None


def moved_to(event: JobMoved) -> State:
    if event.move is Move.RENEW:
        return State.RUNNING if kind_of(event.node) in ON_CLUSTER else State.WAITING_CLIENT
    return AFTER[event.move]


def words(event: Any) -> str:
    """One line without its time."""
    match event:
        case JobSubmitted():
            return f"asks for {event.asked}"
        case ModelResolved(model=model):
            return f"gets {model.name}@{model.version}, accuracy {model.accuracy:.3f}"
        case JobsAdded(jobs=jobs):
            return "adds " + ", ".join(job.id for job in jobs)
        case JobMoved():
            return f"{event.node} is {moved_to(event)}: {event.cause}"
        case Calibrated(probes=probes):
            return f"knows the latency of {len(probes)} networks on this device"
        case PlanMade(plan=plan):
            return f"round {plan.round}, {plan.action} {plan.student}: {plan.why}"
        case DeliveryOpened(delivery=delivery):
            size = sum(chunk.length for chunk in delivery.chunks)
            return f"sealed {len(delivery.chunks)} chunks, {size} bytes"
        case MetricReported(metric=metric) | MetricKept(metric=metric):
            return (
                f"{metric.student} measured: accuracy {metric.accuracy:.3f}, "
                f"p95 {metric.latency_p95_ms:.3g} ms"
            )
        case JobFollowed():
            return f"opens {event.by}: {event.why}"
        case LetterDied(letter=letter):
            return f"dead letter {letter.id}: {letter.node} failed {letter.attempt} times"
        case JobReopened():
            return f"dead letter {event.letter_id} is replayed by {event.by}"
        case Judged(verdict=verdict):
            return judged(verdict)
        case JobClosed():
            return f"{event.verdict.kind if event.verdict else event.state}: {event.why}"
    return type(event).__name__


def judged(verdict: Verdict) -> str:
    return f"{verdict.kind}: {verdict.why}"


async def live_story(backend: Backend, job: DistillationJobRow, after: int) -> AsyncIterator[str]:
    """Server-sent events (HTML, 9.2) behind the sequence `after`, until the job is over."""
    cursor = ""
    while True:
        cursor = await backend.newer(job.client_id, cursor, KEEP_ALIVE_S if cursor else 0)
        row = (await backend.rows(job.id, [job.id]))[job.id]  # before its events: none is missed
        events = await backend.story(job.id, after, PAGE)
        for sequence, at, data in events:
            event = told(sequence, at, data)
            yield f"id: {sequence}\nevent: {event.event}\ndata: {event.model_dump_json()}\n\n"
            after = sequence
        if len(events) == PAGE:
            cursor = ""  # there may be more: no waiting
        elif row.state not in OPEN:
            yield "event: end\ndata: {}\n\n"
            return
        elif not events:
            yield ": nothing new\n\n"
