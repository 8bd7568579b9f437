"""The control core in a false world: sound parts pass every story, broken ones are found.

A broken part is handed to the simulator as an argument; it must be found within a bounded number of
seeds, and the story that shows it must be short.
"""

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from actors.desk import Desk, own
from benchmarks.simulation.process import Parts
from benchmarks.simulation.seeds import play, run_seeds
from benchmarks.simulation.shrinking import first_failure, shrink, tell
from benchmarks.simulation.story import Story, story_of
from cluster.journal.contract import StoredAnswer
from cluster.store import Batch, Store
from stillhouse import jobs, shard
from stillhouse.authorization import authorize
from stillhouse.commands import Acknowledge, Announce, Cancel, Expire, MoveCursor, Start
from stillhouse.decisions import Answer, Decision, Index, Request
from stillhouse.draft import Draft
from stillhouse.entities import JobState, Principal
from stillhouse.errors import Gone, Unavailable
from stillhouse.events import JobMoved
from stillhouse.evolve import evolve, index
from stillhouse.jobs import Move
from stillhouse.listing import OPEN
from stillhouse.rounds import transfer
from stillhouse.rows import DeliveryRow, get

SEEDS = 200
MOST_SEEDS = 200  # within which a broken part is found
MOST_STEPS = 12  # of the story that shows it


def test_no_story_breaks_what_must_hold() -> None:
    result = run_seeds(first=0, count=SEEDS, processes=1)
    assert result.failures == ()
    assert result.seeds == SEEDS
    assert result.transitions > 50 * SEEDS
    assert result.crashes > SEEDS
    assert result.failed_commits > SEEDS


def test_the_same_seeds_give_the_same_trace_in_one_process_or_in_two() -> None:
    once, again = (run_seeds(7, 60, processes=processes) for processes in (1, 2))
    assert once == again
    assert once.trace_hash != run_seeds(8, 60, processes=1).trace_hash


def test_a_story_can_be_told() -> None:
    told = tell(story_of(1))
    assert any("shard 0 answers Submit" in line for line in told)
    assert told[0].startswith("1. ")


def test_any_part_of_a_story_is_a_story() -> None:
    for seed in range(1, 8):
        steps = story_of(seed).steps
        assert play(Story(seed, steps[seed::3])).failures == ()
        assert play(Story(seed, ())).failures == ()


# --- broken rules ---


def broken(
    handlers: Mapping[type, Callable[[Draft, Principal, Any], Answer]] | None = None,
    evolve: Callable[[Any, Any], Any] = evolve,
    index: Callable[[Any, Any, Index], None] = index,
) -> Parts:
    """The shard's rules, but for what is given."""
    table = {**shard.HANDLERS, **(handlers or {})}

    def step(rows: Any, request: Request, now: float) -> Decision:
        command = request.command
        authorize(request.principal, type(command).__name__)
        draft = Draft(rows, now, evolve, index)
        return draft.decision(table[type(command)](draft, request.principal, command))

    rules = {name: getattr(shard, name) for name in shard.__all__} | {"step": step}
    return Parts(rules=SimpleNamespace(**rules))


def evolve_that_loses_an_ack(rows: Any, event: Any) -> Any:
    lost = isinstance(event, JobMoved) and event.cause == "acknowledged"
    return {} if lost else evolve(rows, event)


def index_that_keeps_old_leases(rows: Any, event: Any, into: Index) -> None:
    index(rows, event, into)
    if isinstance(event, JobMoved) and event.move is Move.SUCCEED:
        into.due.pop((event.job_id, event.node), None)


def start_of_any_attempt(draft: Draft, _: Principal, command: Start) -> Answer:
    draft.start(command.job_id, jobs.get(draft.job(command.job_id).graph, command.node))
    return Answer(204)


def expire_before_it_is_due(draft: Draft, who: Principal, command: Expire) -> Answer:
    draft.now += 1e9
    answer = shard.HANDLERS[Expire](draft, who, command)
    draft.now -= 1e9
    return answer


def acknowledge_unseen(draft: Draft, _: Principal, command: Acknowledge) -> Answer:
    delivery = get(draft.rows, command.delivery_id, DeliveryRow)
    node = transfer(draft.job(delivery.job_id).graph, delivery.round, command.index)
    assert node is not None
    draft.move(delivery.job_id, node.id, Move.SUCCEED, "acknowledged")
    return Answer(204)


def cancel_for_anyone(draft: Draft, _: Principal, command: Cancel) -> Answer:
    if draft.job(command.job_id).state not in OPEN:
        raise Gone("it is over")
    draft.close(command.job_id, JobState.CANCELLED, "cancelled")
    return Answer(204)


# --- broken stores ---


class AnswersBeforeTheCommit(Store):
    def take(self) -> Batch | None:
        batch = super().take()
        if batch is not None:
            batch.settled.set()
        return batch


class KeepsWhatLiesOnTop(Store):
    def _drop(self, failure: Unavailable) -> None:
        on_top, self._open = self._open, None
        super()._drop(failure)
        self._open = on_top


class KeepsItsCache(Store):
    def _drop(self, failure: Unavailable) -> None:
        cache = dict(self._cache)
        super()._drop(failure)
        self._cache.update(cache)


class ForgetsItsAnswers(Store):
    def _before(self, key: str, stored: Mapping[str, StoredAnswer]) -> None:
        return None


# --- broken desks ---


class MovesTheCursorFirst(Desk):
    def take_up(self, records: Iterable[tuple[int, Announce]], now: float) -> None:
        for sequence, record in records:
            self._line.apply([own(MoveCursor(sequence))], now)
            super().take_up([(sequence, record)], now)


class TakesALateReleaseForAnEnd(Desk):
    def note(self, events: Iterable[Any]) -> None:
        for event in events:
            if isinstance(event, JobMoved) and event.move is Move.RELEASE:
                self._begun.discard((event.job_id, event.node))
        super().note(events)


class StartsWithoutCounting(Desk):
    def note(self, events: Iterable[Any]) -> None:
        """As if everything had ended."""
        super().note(events)
        self._running.clear()


BROKEN = {
    "an ack is lost": broken(evolve=evolve_that_loses_an_ack),
    "old leases stay": broken(index=index_that_keeps_old_leases),
    "any attempt starts": broken({Start: start_of_any_attempt}),
    "expires before it is due": broken({Expire: expire_before_it_is_due}),
    "an ack proves nothing": broken({Acknowledge: acknowledge_unseen}),
    "anyone cancels": broken({Cancel: cancel_for_anyone}),
    "answers before the commit": Parts(store=AnswersBeforeTheCommit),
    "keeps what lies on top": Parts(store=KeepsWhatLiesOnTop),
    "keeps its cache": Parts(store=KeepsItsCache),
    "forgets its answers": Parts(store=ForgetsItsAnswers),
    "the cursor first": Parts(desk=MovesTheCursorFirst),
    "a late release": Parts(desk=TakesALateReleaseForAnEnd),
    "starts without counting": Parts(desk=StartsWithoutCounting),
}


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
def test_a_broken_part_is_found_and_its_story_is_short(parts: Parts) -> None:
    failure = first_failure(parts, MOST_SEEDS)
    assert failure is not None
    story = shrink(failure, parts)
    assert len(story.steps) <= MOST_STEPS, tell(story, parts)
    assert play(story, parts).failures[0].kind == failure.kind
    assert play(story).failures == ()  # the story is no fault of the sound parts
