"""What is counted: every move, every job in one state, verdicts and rounds at the end."""

from collections import Counter
from typing import Any

from fakes import memory, rules
from story import ALICE, enrolled

from benchmarks.makers import model
from cluster.store import Store
from stillhouse import shard
from stillhouse.commands import Announce, Arrive, Cancel, Submit
from stillhouse.decisions import Request
from stillhouse.entities import SYSTEM, JobState, Principal, Verdict, VerdictKind
from stillhouse.events import JobClosed, JobMoved
from stillhouse.observations import JOBS, ROUNDS, TRANSITIONS, VERDICTS, observations
from stillhouse.rows import DistillationJobRow

HASH = ALICE.id[4:12]
PROFILE = f"prf-{HASH}-0000000000000001"


class Story:
    """Commands to one shard, and the sum of what was observed of them."""

    def __init__(self) -> None:
        self.store = Store(rules(shard), memory())
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.events: list[Any] = []
        self.play(*enrolled(ALICE))

    def play(self, *commands: Any, who: Principal = ALICE) -> None:
        """All commands in one batch."""
        first = len(self.events) * 100
        requests = [
            Request(f"k{first + n}", "d", who, command) for n, command in enumerate(commands)
        ]
        applied = self.store.apply(requests, 1000.0)
        self.events += applied.events
        for each in observations(applied.events, applied.changed):
            self.seen[each.metric, *each.tags] += each.value

    def submit(self, job: str, asked: str) -> None:
        self.play(Submit(job, ALICE.id, asked, PROFILE))

    def announce(self) -> None:
        self.play(Announce("wrist", model=model()), who=SYSTEM)

    def states(self) -> dict[str, int]:
        return {tags[0]: n for (metric, *tags), n in self.seen.items() if metric == JOBS and n}


def job_id(number: int) -> str:
    return f"job-{HASH}-{number:016x}"


def test_a_job_is_counted_in_one_state_at_a_time() -> None:
    story = Story()
    story.submit(job_id(1), "wrist")
    assert story.states() == {"ACCEPTED": 1}
    story.announce()
    story.play(Arrive(job_id(1)), who=SYSTEM)
    assert story.states() == {"RUNNING": 1}
    story.play(Cancel(job_id(1)))
    assert story.states() == {"CANCELLED": 1}


def test_so_is_one_that_is_cancelled_before_its_model_came() -> None:
    story = Story()
    story.submit(job_id(1), "wrist")
    story.play(Cancel(job_id(1)))
    assert story.states() == {"CANCELLED": 1}


def test_and_one_that_passes_all_states_in_one_batch() -> None:
    story = Story()
    story.announce()
    submit = Submit(job_id(1), ALICE.id, "wrist", PROFILE)
    story.play(submit, Cancel(job_id(1)))
    assert story.states() == {"CANCELLED": 1}


def test_every_move_is_a_transition_of_its_kind_and_no_id_is_a_tag() -> None:
    story = Story()
    story.announce()
    story.submit(job_id(1), "wrist")
    story.play(Cancel(job_id(1)))
    moves = [event for event in story.events if isinstance(event, JobMoved)]
    counted = {key: n for key, n in story.seen.items() if key[0] == TRANSITIONS}
    assert sum(counted.values()) == len(moves) > 0
    assert story.seen[TRANSITIONS, "probe", "offer"] == 1
    assert not any(HASH in tag for key in story.seen for tag in key)


def test_an_end_tells_its_rounds_and_its_verdict() -> None:
    story = Story()
    story.announce()
    story.submit(job_id(1), "wrist")
    job = story.store.rows([job_id(1)])[job_id(1)]
    assert isinstance(job, DistillationJobRow)
    verdict = Verdict(kind=VerdictKind.MET, why="")
    ended = JobClosed(job.id, JobState.ENDED, verdict, "")
    seen = {(each.metric, *each.tags): each.value for each in observations([ended], [job])}
    assert seen[VERDICTS, "MET"] == 1
    assert seen[ROUNDS,] == 0
