"""What a submission may ask for: a deadline, a priority, and no more open jobs than the quota."""

from typing import Any

import pytest
from fakes import LocalShard
from story import ALICE, enrolled

from benchmarks.makers import PROBES, model
from stillhouse.commands import Announce, Cancel, Expire, ReportProbes, Submit
from stillhouse.decisions import Request
from stillhouse.entities import (
    LONGEST_DEADLINE_S,
    SYSTEM,
    JobState,
    Principal,
    Priority,
    Role,
)
from stillhouse.errors import Forbidden, Invalid, QuotaExceeded, StaleAttempt, StillhouseError

PROFILE = f"prf-{ALICE.id[4:12]}-0000000000000001"
OPERATOR = Principal(id="opr-00000001-0000000000000001", role=Role.OPERATOR)


class House:
    def __init__(self) -> None:
        self.shard, self.count, self.now = LocalShard(), 0, 1000.0
        for command in enrolled(ALICE):
            self.do(command)

    def do(self, command: Any, who: Principal = ALICE) -> Any:
        self.count += 1
        key = f"key-{self.count}"
        answer = self.shard.do(Request(key, key, who, command), self.now)
        if isinstance(answer, StillhouseError):
            raise answer
        return answer

    def submit(self, who: Principal = ALICE, **asked: Any) -> str:
        id = f"job-{ALICE.id[4:12]}-{self.count:016x}"
        self.do(Submit(id, ALICE.id, "wrist", PROFILE, **asked), who)
        return id

    def job(self, id: str) -> Any:
        return self.shard.store.rows([id])[id]


@pytest.fixture
def house() -> House:
    return House()


def test_a_client_has_at_most_as_many_open_jobs_as_its_quota(house: House) -> None:
    first = house.submit(quota=2)
    house.submit(quota=2)
    with pytest.raises(QuotaExceeded, match="2 open jobs"):
        house.submit(quota=2)
    house.do(Cancel(first))
    house.submit(quota=2)


def test_a_job_expires_at_the_deadline_that_it_asked_for(house: House) -> None:
    id = house.submit(deadline_s=60.0)
    assert house.job(id).deadline == house.now + 60
    house.now += 59
    with pytest.raises(StaleAttempt):
        house.do(Expire(id, "", 0), SYSTEM)
    house.now += 1
    [due] = house.shard.journal.due(house.now, 9)
    house.do(Expire(due.job_id, due.node, due.attempt), SYSTEM)
    assert house.job(id).state is JobState.EXPIRED


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, LONGEST_DEADLINE_S + 1])
def test_a_deadline_is_in_the_future_and_not_too_far(house: House, deadline_s: float) -> None:
    with pytest.raises(Invalid, match="deadline_s"):
        house.submit(deadline_s=deadline_s)


def test_no_client_puts_itself_before_the_others_but_an_operator_may(house: House) -> None:
    with pytest.raises(Forbidden):
        house.submit(priority=Priority.HIGH)
    assert house.job(house.submit(priority=Priority.LOW)).priority is Priority.LOW
    assert house.job(house.submit(OPERATOR, priority=Priority.HIGH)).priority is Priority.HIGH


def test_the_priority_of_a_job_is_that_of_its_turns(house: House) -> None:
    house.shard.desk._most = 0  # nothing starts
    house.do(Announce("wrist", model=model()), SYSTEM)
    for who, priority in ((ALICE, Priority.LOW), (OPERATOR, Priority.HIGH)):
        id = house.submit(who, priority=priority)
        if "probe" in house.job(id).graph:
            house.do(ReportProbes(id, 1, PROBES))
    ready = house.shard.journal
    found = [ready.ready(priority, "") for priority in range(3)]
    assert [each and each.client_id for each in found] == [ALICE.id, None, ALICE.id]
