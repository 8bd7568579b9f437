"""A shard that is killed again and again loses nothing, and the audit would see it if it did."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.control.workload import Client
from benchmarks.kills.audit import Auditor, Findings
from benchmarks.kills.bare import kill_bare
from benchmarks.kills.devices import Device, joining
from benchmarks.kills.life import IDENTITY, RULES
from cluster.journal import sqlite
from cluster.journal.contract import Commit
from cluster.journal.sqlite import SqliteJournal
from cluster.store import Store
from stillhouse.decisions import Answer, Request
from stillhouse.errors import StillhouseError

SEED = 11
CLIENT = Client.numbered(0)


@pytest.mark.slow
def test_a_dozen_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    killed = kill_bare(12, SEED, tmp_path)
    found = killed.findings
    assert found.stories == []
    assert (found.lost, found.doubled, found.refused) == (0, 0, 0)
    assert killed.kills == 12
    assert killed.repeated > 0
    assert found.acknowledged > found.jobs > 0


class House:
    """A journal that a client has joined, and its auditor."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shard.sqlite"
        sqlite.initialise(self.path, IDENTITY)
        self.journal = SqliteJournal(self.path, IDENTITY)
        self.auditor = Auditor(IDENTITY, Findings())
        self.requests = tuple(joining(CLIENT))
        self.answers = self.apply(self.requests)

    def apply(self, requests: tuple[Request, ...]) -> list[Answer | StillhouseError]:
        return Store(RULES, self.journal).apply(requests, 1.0).answers

    def findings(self) -> Findings:
        self.auditor.look(self.path)
        return self.auditor.findings


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_what_was_acknowledged_and_is_there_is_not_lost(house: House) -> None:
    house.auditor.note(house.requests, house.answers)
    found = house.findings()
    assert (found.acknowledged, found.stories) == (3, [])


def test_an_answer_that_was_never_committed_is_lost(house: House) -> None:
    submitted = replace(house.requests[0], key="another")
    house.auditor.note([submitted], [Answer(202)])
    assert house.findings().lost == 1


def test_an_acknowledged_job_without_a_row_is_lost(house: House) -> None:
    request = CLIENT.submits(1)
    house.auditor.note([request], [Answer(202)])
    assert house.findings().lost == 2  # neither its answer nor its effect


def test_an_event_that_stands_in_the_journal_twice_is_doubled(house: House) -> None:
    [first, *_] = house.journal.events_after(0, 9)
    house.journal.commit(Commit(2.0, events=((CLIENT.principal.id, first.data),)))
    assert house.findings().doubled == 1


def test_two_answers_to_one_request_are_doubled(house: House) -> None:
    for status in (201, 202):
        house.auditor.note(house.requests[:1], [Answer(status)])
    assert house.auditor.findings.doubled == 1


def test_a_row_that_its_events_do_not_explain_is_lost(house: House) -> None:
    data = house.journal.load([CLIENT.profile_id])[CLIENT.profile_id]
    house.journal.commit(Commit(2.0, rows={"profile-of-nobody": data}))
    assert house.findings().lost == 1


def test_a_refusal_of_what_is_always_right_is_noted(house: House) -> None:
    house.auditor.note(house.requests[:1], [StillhouseError("no")])
    assert house.auditor.findings.refused == 1


def test_a_device_that_has_joined_submits_and_replaces_its_profile_before_its_next_job() -> None:
    device = Device(CLIENT, number=2)
    rows = {CLIENT.profile_id: object(), device.job_id: None}
    assert [type(each.command).__name__ for each in device.next(rows)] == [
        "ReplaceProfile",
        "Submit",
    ]
