"""What a shard does by itself: turns within its capacity, pauses that end, the feed in order."""

from typing import Any

from fakes import Inline, memory, rules
from story import ALICE, BOB, enrolled

from actors.desk import Desk, own
from benchmarks.makers import PROBES, model, plan
from cluster.store import Store
from stillhouse import shard
from stillhouse.commands import Announce, EffectFailed, Planned, ReportProbes, Submit
from stillhouse.decisions import Effect, Request
from stillhouse.entities import SYSTEM, Action, JobState, Principal
from stillhouse.errors import JournalUnavailable
from stillhouse.jobs import State
from stillhouse.listing import START
from stillhouse.rows import DistillationJobRow
from stillhouse.schedule import MAX_ATTEMPTS


class Broken(Inline):
    """A line whose commits fail once `left` of them were made."""

    left = 1000

    def apply(self, requests: Any, now: float) -> Any:
        self.left -= 1
        if self.left < 0:
            return [JournalUnavailable("the disk is full")] * len(requests)
        return super().apply(requests, now)


class Shard:
    """A shard with two clients, whose desk one drives by hand."""

    def __init__(self, in_flight: int = 2) -> None:
        self.journal = memory()
        self.store = Store(rules(shard), self.journal)
        self.line = Broken(self.store)
        self.desk = Desk(self.line, self.store, self.journal, in_flight)
        self.now, self.count = 1000.0, 0
        for who in (ALICE, BOB):
            for command in enrolled(who):
                self.do(command, who)

    def do(self, command: Any, who: Principal = SYSTEM) -> Any:
        self.count += 1
        key = f"key-{self.count}"
        [answer] = self.line.apply([Request(key, key, who, command)], self.now)
        self.tell()
        return answer

    def tell(self) -> list[Effect]:
        """What started with the commits since the last time."""
        told = self.line.told()
        for applied in told:
            self.desk.note(applied.events)
        return [effect for applied in told for effect in applied.effects]

    def submit(self, who: Principal, jobs: int = 1, name: str = "wrist") -> list[str]:
        ids = []
        for _ in range(jobs):
            ids.append(f"job-{who.id[4:12]}-{self.count:016x}")
            self.do(Submit(ids[-1], who.id, name, f"prf-{who.id[4:12]}-{1:016x}"), who)
        return ids

    def probed(self, who: Principal, jobs: int = 1) -> list[str]:
        """Jobs whose plans are ready."""
        ids = self.submit(who, jobs)
        for id in ids:
            if "probe" in self.job(id).graph:
                self.do(ReportProbes(id, 1, PROBES), who)
        return ids

    def job(self, id: str) -> DistillationJobRow:
        row: DistillationJobRow = self.store.rows([id])[id]
        return row

    def start(self) -> list[Effect]:
        self.desk.start_ready(self.now)
        return self.tell()


def with_a_model(in_flight: int = 2) -> Shard:
    here = Shard(in_flight)
    here.do(Announce("wrist", model=model()))
    return here


# --- turns ---------------------------------------------------------------------------------------


def test_no_more_effects_run_than_there_is_room_and_the_next_one_starts_when_one_ends() -> None:
    here = with_a_model(in_flight=2)
    here.probed(ALICE, 3)
    first, second = here.start(), here.start()
    assert [len(first), len(second), len(here.start())] == [1, 1, 0]
    [effect] = first
    here.do(Planned(effect.job_id, effect.node, effect.attempt, plan(1, Action.TRAIN)))
    assert len(here.start()) == 1


def test_a_client_with_many_ready_jobs_does_not_hold_up_anothers_first() -> None:
    here = with_a_model(in_flight=2)
    here.probed(ALICE, 20)
    [theirs] = here.probed(BOB)
    assert theirs in {effect.job_id for effect in here.start()}


def test_what_a_crash_left_without_a_result_counts_and_starts_again() -> None:
    here = with_a_model(in_flight=1)
    here.probed(ALICE, 2)
    running = here.start()
    here.desk = Desk(here.line, here.store, here.journal, 1)  # a restarted process knows nothing
    assert here.desk.resume() == running
    assert here.start() == []


def test_a_turn_whose_commit_fails_is_given_again() -> None:
    here = with_a_model(in_flight=1)
    here.probed(ALICE)
    here.line.left = 0
    assert here.start() == []
    here.line.left = 1000
    assert len(here.start()) == 1


# --- failures ------------------------------------------------------------------------------------


def test_pauses_between_attempts_grow_and_then_the_job_is_a_dead_letter() -> None:
    here = with_a_model()
    [id] = here.probed(ALICE)
    pauses = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        [effect] = here.start()
        assert effect.attempt == attempt
        here.do(EffectFailed(id, effect.node, attempt, "it died"))
        node = here.job(id).graph[effect.node]
        if node.state is State.READY:
            assert node.until is not None
            pauses.append(node.until - here.now)
            assert here.start() == []  # not before the pause is over
            assert here.desk.expire(node.until - 0.01) == 0
            here.now = node.until
            assert here.desk.expire(here.now) == 1
            here.tell()
    assert pauses == [1, 4, 16]
    assert here.job(id).state is JobState.FAILED
    assert len(here.journal.dead(START, 9)) == 1


# --- the feed ------------------------------------------------------------------------------------


def test_every_waiting_job_is_told_and_then_the_cursor_moves() -> None:
    here = Shard()
    ids = here.submit(ALICE, 3) + here.submit(BOB, 2)
    other = here.submit(BOB, 1, "ankle")
    here.desk.take_up([(4, Announce("wrist", model=model()))], here.now)
    assert {here.job(id).state for id in ids} == {JobState.RUNNING}
    assert here.job(other[0]).state is JobState.ACCEPTED
    assert here.desk.cursor() == 4


def test_a_record_that_was_cut_short_is_taken_up_again_and_the_cursor_waits() -> None:
    here = Shard()
    ids = here.submit(ALICE, 3)
    feed = [(1, Announce("wrist", model=model())), (2, Announce("ankle", model=model("ankle")))]
    for commits in range(3):  # record, jobs, cursor
        here.line.left = commits
        try:
            here.desk.take_up(feed, here.now)
        except JournalUnavailable:
            assert here.desk.cursor() == 0
    here.line.left = 1000
    here.desk.take_up(feed[here.desk.cursor() :], here.now)
    assert here.desk.cursor() == 2
    assert {here.job(id).state for id in ids} == {JobState.RUNNING}
    told = [data for _, _, data in here.store.story(ids[0]) if data.startswith(b"ModelResolved")]
    assert len(told) == 1


def test_the_shards_own_commands_leave_no_answers_behind() -> None:
    request = own(Announce("wrist", model=model()))
    here = Shard()
    here.line.apply([request], here.now)
    assert here.journal.answers([""]) == {}
