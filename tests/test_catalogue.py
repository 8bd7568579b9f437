"""The catalogue is the shard's copy of the vault's feed; the feed may be taken up twice."""

from typing import Any

from benchmarks.control.step import NOW, Rows
from benchmarks.makers import model
from stillhouse import shard
from stillhouse.catalogue import resolve
from stillhouse.commands import Announce
from stillhouse.decisions import Request
from stillhouse.entities import SYSTEM
from stillhouse.events import AliasSet, ModelAnnounced

FEED = (
    Announce("wrist", model=model()),
    Announce("wrist", alias="production", version=1),
)


def taken_up(rows: Rows) -> list[Any]:
    """The events of the whole feed."""
    events: list[Any] = []
    for record in FEED:
        decision = shard.step(rows, Request("", "", SYSTEM, record), NOW)
        rows.update(decision.changed)
        events += decision.events
    return events


def test_a_record_that_is_taken_up_again_is_no_event() -> None:
    rows = Rows()
    first = taken_up(rows)
    assert first == [ModelAnnounced("wrist", model()), AliasSet("wrist", "production", 1)]
    assert taken_up(rows) == []


def test_an_alias_that_moves_on_is_an_event_and_means_the_other_version() -> None:
    rows = Rows()
    taken_up(rows)
    second = model().model_copy(update={"version": 2})
    moved = Announce("wrist", alias="production", version=2)
    for record in (Announce("wrist", model=second), moved):
        rows.update(shard.step(rows, Request("", "", SYSTEM, record), NOW).changed)
    assert resolve(rows, "wrist@production") == second
