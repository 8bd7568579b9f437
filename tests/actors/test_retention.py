"""Old events go to the archive and are still told; old answers go; nothing young does."""

from dataclasses import dataclass
from pathlib import Path

import bank
import pytest
from bank import Deposit
from fakes import memory

from actors.retention import EVERY_S, Retention
from cluster.pipeline import Pipeline
from cluster.store import Store
from stillhouse.decisions import Request
from stillhouse.entities import SYSTEM


@dataclass(frozen=True)
class Kept:
    state: Path
    events_kept_s: float = 100.0
    answers_kept_s: float = 50.0


class House:
    def __init__(self, state: Path) -> None:
        self.journal = memory()
        self.pipeline = Pipeline(Store(bank, self.journal), lambda *_: None)
        self.retention = Retention(self.pipeline, self.journal, "shard-0", Kept(state))

    def deposit(self, name: str, amount: int, at: float) -> None:
        self.pipeline.apply([request(name, amount)], at)


def request(name: str, amount: int) -> Request:
    return Request(f"{name}/{amount}", "digest", SYSTEM, Deposit(name, amount))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_old_events_are_archived_and_their_story_is_told_as_before(house: House) -> None:
    for number in range(1, 6):
        house.deposit("ann" if number % 2 else "bob", number, at=number * 20.0)
    before = house.retention.story("ann", 0, 100)
    assert len(before) == 3
    house.retention.turn(now=165.0)  # events 1 to 3 are older than 100 s
    assert [each.sequence for each in house.journal.events_after(0, 9)] == [4, 5]
    assert house.retention.story("ann", 0, 100) == before
    assert house.retention.story("ann", before[0].sequence, 1) == before[1:2]
    assert house.retention.story("ann", before[-1].sequence, 9) == []


def test_the_newest_run_stays_and_is_not_archived_again_and_again(
    house: House, tmp_path: Path
) -> None:
    house.pipeline.apply([request("ann", 1), request("ann", 2)], 0.0)  # two events, one run
    written = []
    for turn in range(3):
        house.retention.turn(now=1000.0 + turn * EVERY_S)
        files = list((tmp_path / "archive").iterdir())
        written.append(len(files))
        for file in files:
            file.unlink()
    assert written == [1, 0, 0]
    house.deposit("ann", 3, at=1000.0)
    house.retention.turn(now=5000.0)
    assert [each.sequence for each in house.journal.events_after(0, 9)] == [3]


def test_answers_go_when_no_repeat_can_come_any_more(house: House) -> None:
    house.deposit("ann", 1, at=0.0)
    house.deposit("ann", 2, at=60.0)
    house.retention.turn(now=80.0)
    keys = [request("ann", amount).key for amount in (1, 2)]
    assert set(house.journal.answers(keys)) == {keys[1]}


def test_nothing_young_goes_and_a_turn_soon_after_does_nothing(house: House) -> None:
    house.deposit("ann", 1, at=0.0)
    house.deposit("ann", 2, at=1.0)
    house.retention.turn(now=10.0)
    assert len(house.journal.events_after(0, 9)) == 2
    house.retention.turn(now=10.0 + EVERY_S - 1)
    house.deposit("ann", 3, at=200.0)
    house.retention.turn(now=10.0 + EVERY_S + 130)
    assert [each.sequence for each in house.journal.events_after(0, 9)] == [3]
