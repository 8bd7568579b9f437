"""An outage is the longest time between two answers of a poller, from a kill on."""

import pytest

from benchmarks.kills.callers import POLL_S, identities, outage_s
from stillhouse.entities import Role
from stillhouse.ids import shard_of

STEADY = [POLL_S * number for number in range(10)]


def test_answers_as_often_as_one_asks_are_no_outage() -> None:
    assert outage_s(STEADY, since=0.1) == pytest.approx(0.0)


def test_the_longest_gap_counts_less_the_pause_between_two_polls() -> None:
    answered = [*STEADY, 2.0, 2.1, 5.0]
    assert outage_s(answered, since=STEADY[-1]) == pytest.approx(2.9 - POLL_S)


def test_a_gap_begins_at_the_last_answer_before_the_kill() -> None:
    assert outage_s([1.0, 3.0], since=2.0) == pytest.approx(2.0 - POLL_S)


def test_what_was_before_the_kill_is_not_its_outage() -> None:
    assert outage_s([1.0, 9.0, 9.05, 9.1], since=9.02) == pytest.approx(0.0)


def test_callers_are_found_for_each_shard() -> None:
    for shard in (0, 1):
        identity = next(identities(shard, 2))
        assert shard_of(identity.id(Role.CLIENT), 2) == shard
