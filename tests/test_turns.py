"""Whose effect starts next: clients in turn, priorities by weight, and nobody starves."""

from collections import Counter
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.decisions import Ready
from stillhouse.schedule import Turns


class Line:
    """Ready nodes, as a journal finds them."""

    def __init__(self, *ready: Ready) -> None:
        self.ready = list(ready)

    def first_after(self, priority: int, client: str) -> Ready | None:
        behind = [each for each in self.ready if each.priority == priority]
        return min(
            (each for each in behind if each.client_id > client),
            key=lambda each: each.client_id,
            default=None,
        )

    def take(self, turns: Turns, most: int) -> list[Ready]:
        taken = turns.take(self.first_after, most)
        for each in taken:
            self.ready.remove(each)
        return taken


def nodes(client: str, jobs: int, priority: int = 1) -> list[Ready]:
    return [Ready(priority, client, f"{client}-{number}", "r1.plan", 1) for number in range(jobs)]


def test_ten_thousand_jobs_of_one_client_do_not_delay_anothers_first() -> None:
    line, turns = Line(*nodes("greedy", 10_000)), Turns()
    line.take(turns, 1)
    line.ready += nodes("late", 1)
    assert [each.client_id for each in line.take(turns, 2)] == ["late", "greedy"]


def test_at_most_one_of_each_client_starts_at_once() -> None:
    line = Line(*nodes("a", 3), *nodes("b", 3))
    assert [each.job_id for each in line.take(Turns(), 9)] == ["a-0", "b-0"]


def test_clients_come_round_in_turn() -> None:
    line, turns = Line(*nodes("a", 9), *nodes("b", 9), *nodes("c", 9)), Turns()
    order = [each.client_id for _ in range(6) for each in line.take(turns, 1)]
    assert order == ["a", "b", "c", "a", "b", "c"]


def test_of_seven_turns_high_gets_four_normal_two_and_low_one() -> None:
    waiting = [each for priority in range(3) for each in nodes(f"p{priority}", 70, priority)]
    line, turns = Line(*waiting), Turns()
    served = Counter(each.priority for _ in range(70) for each in line.take(turns, 1))
    assert served == {0: 40, 1: 20, 2: 10}


def test_where_only_low_waits_every_turn_is_its() -> None:
    line, turns = Line(*nodes("low", 3, priority=2)), Turns()
    assert [len(line.take(turns, 1)) for _ in range(4)] == [1, 1, 1, 0]


waiting = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from("abcd"), st.integers(1, 5)), max_size=8
)


@given(waiting, st.integers(1, 4))
def test_whatever_waits_is_started_once_and_no_turn_is_wasted(
    lots: list[tuple[int, str, int]], most: int
) -> None:
    numbers = count()
    every = [
        Ready(priority, client, f"job-{next(numbers)}", "r1.plan", 1)
        for priority, client, jobs in lots
        for _ in range(jobs)
    ]
    line, turns, started = Line(*every), Turns(), []
    while line.ready:
        queues = {(each.priority, each.client_id) for each in line.ready}
        taken = line.take(turns, most)
        assert len(taken) == min(most, len(queues))
        started += taken
    assert sorted(started) == sorted(every)
