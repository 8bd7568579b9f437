"""Dead letters over HTTP: an operator sees what failed for good, and its job goes on."""

import time

import pytest
from api_house import SPEC, House, Member

from benchmarks.makers import PROBES, model
from stillhouse.commands import Announce, EffectFailed, Expire, ReportProbes
from stillhouse.decisions import Answer, Request
from stillhouse.entities import SYSTEM, JobState, Principal, Role
from stillhouse.errors import Conflict, Forbidden, NotFound
from stillhouse.jobs import State
from stillhouse.wire.messages import JobStatus


def do(house: House, command: object, now: float) -> None:
    answer = house.backend.local.do(Request("", "", SYSTEM, command), now)
    assert isinstance(answer, Answer), answer


def failed(house: House, device: Member) -> str:
    """The id of a job whose planning has failed for good."""
    do(house, Announce("wrist", model=model()), 0)
    profile = device.create_profile(device.id, SPEC)
    id = device.submit(device.id, "wrist", profile.id).id
    if "probe" in house.backend.shard.rows([id])[id].graph:
        who = Principal(id=device.id, role=Role.CLIENT)
        probes = Request(f"probes/{id}", "probes", who, ReportProbes(id, 1, PROBES))
        assert isinstance(house.backend.local.do(probes, time.time()), Answer)
    while (job := house.backend.shard.rows([id])[id]).state is JobState.RUNNING:
        node = job.graph["r1.plan"]
        if node.state is State.RUNNING:
            do(house, EffectFailed(id, node.id, node.attempt, "no memory left"), time.time())
        else:
            do(house, Expire(id, node.id, node.attempt), node.until)
    return id


def test_what_failed_for_good_is_listed_with_its_error(house: House) -> None:
    device, operator = house.member("device"), house.member("operator", Role.OPERATOR)
    assert operator.dead_letters().dead_letters == ()
    id = failed(house, device)
    [letter] = operator.dead_letters().dead_letters
    assert (letter.job_id, letter.client_id, letter.node) == (id, device.id, "r1.plan")
    assert (letter.attempts, letter.error) == (4, "no memory left")
    assert device.status(id).job.state is JobState.FAILED


def test_a_replayed_job_goes_on_where_it_failed_and_leaves_the_list(house: House) -> None:
    device, operator = house.member("device"), house.member("operator", Role.OPERATOR)
    id = failed(house, device)
    [letter] = operator.dead_letters().dead_letters
    assert operator.replay(letter.id).state is JobState.RUNNING
    assert operator.dead_letters().dead_letters == ()
    status = JobStatus.model_validate(device.status(id).model_dump())
    [node] = [each for each in status.graph if each.id == "r1.plan"]
    assert (node.state, node.attempt) == ("RUNNING", 5)
    with pytest.raises(Conflict, match="replayed already"):
        operator.replay(letter.id)


def test_letters_come_newest_first_page_by_page(house: House) -> None:
    operator = house.member("operator", Role.OPERATOR)
    jobs = [failed(house, house.member(name)) for name in ("a", "b", "c")]
    first = operator.dead_letters(limit=2)
    rest = operator.dead_letters(limit=2, cursor=first.next_cursor)
    found = [letter.job_id for letter in (*first.dead_letters, *rest.dead_letters)]
    assert sorted(found) == sorted(jobs)
    assert (len(first.dead_letters), rest.next_cursor) == (2, None)


def test_no_client_sees_or_replays_them(house: House) -> None:
    device, operator = house.member("device"), house.member("operator", Role.OPERATOR)
    failed(house, device)
    [letter] = operator.dead_letters().dead_letters
    with pytest.raises(Forbidden):
        device.dead_letters()
    with pytest.raises(Forbidden):
        device.replay(letter.id)
    with pytest.raises(NotFound):
        operator.replay("dlt-00000000-0000000000000000")


def test_a_letter_whose_profile_was_deleted_cannot_be_replayed(house: House) -> None:
    device, operator = house.member("device"), house.member("operator", Role.OPERATOR)
    id = failed(house, device)
    profile = device.status(id).job.edge_model_profile_id
    device.delete_profile(device.id, profile, 1)
    [letter] = operator.dead_letters().dead_letters
    with pytest.raises(Conflict, match="was deleted"):
        operator.replay(letter.id)
