"""The store over a toy bank: overlays, repeats, NotLoaded, and commits that fail."""

from dataclasses import astuple
from typing import Any

import bank
import pytest
from bank import Account, Close, Deposit, Look, Stumble, Transfer
from hypothesis import given
from hypothesis import strategies as st

from cluster.journal.contract import Commit, JournalIdentity
from cluster.journal.memory import MemoryJournal, Volume, initialise
from cluster.store import Store
from stillhouse.decisions import Answer, Effect, Request
from stillhouse.entities import SYSTEM, digest_of
from stillhouse.errors import Conflict, Defect, Fenced, JournalUnavailable, NotFound, Replayed

IDENTITY = JournalIdentity("cluster", "shard-0", 1, 1)


class FailingJournal(MemoryJournal):
    """Fails its commits while `broken`; `reached_disk` if they happened all the same."""

    broken = False
    reached_disk = False

    def commit(self, batch: Commit) -> None:
        if self.reached_disk or not self.broken:
            super().commit(batch)
        if self.broken:
            raise JournalUnavailable("the disk is full")


@pytest.fixture
def volume() -> Volume:
    volume = Volume()
    initialise(volume, IDENTITY)
    return volume


@pytest.fixture
def journal(volume: Volume) -> FailingJournal:
    return FailingJournal(volume, IDENTITY)


@pytest.fixture
def store(journal: FailingJournal) -> Store:
    return Store(bank, journal)


def request(command: Any, key: str = "") -> Request:
    digest = digest_of([type(command).__name__, *astuple(command)])
    return Request(key or digest, digest, SYSTEM, command)


def apply(store: Store, *commands: Any) -> list[Any]:
    """The answers, or errors, of one batch."""
    return store.apply([request(command) for command in commands], 1.0).answers


# --- decide and evolve on an overlay, commit, tell -----------------------------------------------


def test_answers_effects_events_and_changed_rows_come_after_the_commit(store: Store) -> None:
    applied = store.apply([request(Deposit("ann", 5))], 1.0)
    assert applied.answers == [Answer(200, 5, {"etag": "1"})]
    assert applied.effects == [Effect("ann", "tell", "letter", 1)]
    assert applied.events == [bank.Moved("ann", 5)]
    assert applied.changed == [Account("ann", 5)]


def test_a_command_sees_what_the_ones_before_it_in_the_batch_decided(store: Store) -> None:
    apply(store, Deposit("bob", 1))
    answers = apply(store, Deposit("ann", 5), Transfer("ann", "bob", 4), Look("ann"), Look("bob"))
    assert answers[2:] == [Answer(200, 1), Answer(200, 5)]
    assert store.rows(["ann", "bob"]) == {"ann": Account("ann", 1), "bob": Account("bob", 5)}


def test_rows_that_step_asks_for_are_loaded_from_the_journal(volume: Volume, store: Store) -> None:
    apply(store, Deposit("ann", 5), Deposit("bob", 1))
    restarted = Store(bank, MemoryJournal(volume, IDENTITY))
    assert apply(restarted, Transfer("ann", "bob", 2)) == [Answer(204)]
    assert restarted.rows(["bob"]) == {"bob": Account("bob", 3)}


def test_the_index_is_made_of_the_rows_as_they_are_after_the_event(
    store: Store, journal: FailingJournal
) -> None:
    apply(store, Deposit("ann", 5), Deposit("ann", 2))
    assert journal.outbox() == [Effect("ann", "tell", "letter", 7)]


def test_a_refusal_changes_nothing_and_leaves_the_others_of_its_batch(store: Store) -> None:
    answers = apply(store, Deposit("ann", 5), Transfer("ann", "bob", 9), Deposit("ann", 1))
    assert isinstance(answers[1], Conflict)
    assert answers[2] == Answer(200, 6, {"etag": "1"})
    assert len(store.story("ann")) == 2


def test_a_row_that_was_deleted_is_gone_and_can_come_back(store: Store, volume: Volume) -> None:
    apply(store, Deposit("ann", 5), Close("ann"))
    assert volume.rows == {}
    assert store.rows(["ann"]) == {"ann": None}
    [missing, opened] = apply(store, Look("ann"), Deposit("ann", 2))
    assert isinstance(missing, NotFound)
    assert opened == Answer(200, 2, {"etag": "1"})


def test_a_story_is_what_was_committed_oldest_first(store: Store) -> None:
    store.apply([request(Deposit("ann", 5)), request(Deposit("bob", 1))], 1.0)
    store.apply([request(Close("ann"))], 2.0)
    assert store.story("ann") == [
        (1, 1.0, b"Moved(name='ann', amount=5)"),
        (3, 2.0, b"Closed(name='ann')"),
    ]


# --- repeats -------------------------------------------------------------------------------------


def test_a_repeat_gets_the_stored_answer_and_starts_nothing(volume: Volume, store: Store) -> None:
    [first] = apply(store, Deposit("ann", 5))
    again = store.apply([request(Deposit("ann", 5))], 2.0)
    restarted = Store(bank, MemoryJournal(volume, IDENTITY))
    assert again.answers == apply(restarted, Deposit("ann", 5)) == [first]
    assert again.effects == []
    assert store.rows(["ann"]) == {"ann": Account("ann", 5)}


def test_a_repeat_inside_one_batch_is_a_repeat(store: Store) -> None:
    first, second = apply(store, Deposit("ann", 5), Deposit("ann", 5))
    assert first == second == Answer(200, 5, {"etag": "1"})
    assert store.rows(["ann"]) == {"ann": Account("ann", 5)}


@pytest.mark.parametrize("batches", [1, 2])
def test_the_same_key_for_another_command_is_refused(store: Store, batches: int) -> None:
    requests = [request(Deposit("ann", 5), "key"), request(Deposit("ann", 6), "key")]
    step = len(requests) // batches
    answers = [
        answer
        for start in range(0, len(requests), step)
        for answer in store.apply(requests[start : start + step], 1.0).answers
    ]
    assert isinstance(answers[1], Replayed)
    assert store.rows(["ann"]) == {"ann": Account("ann", 5)}


def test_neither_a_refusal_nor_a_look_is_remembered(store: Store) -> None:
    [refused] = apply(store, Look("ann"))
    assert isinstance(refused, NotFound)
    apply(store, Deposit("ann", 5))
    assert apply(store, Look("ann")) == [Answer(200, 5)]
    apply(store, Deposit("ann", 1))
    assert apply(store, Look("ann")) == [Answer(200, 6)]


# --- commits that fail ---------------------------------------------------------------------------


def test_a_failed_commit_drops_the_overlay_and_all_that_was_decided_on_it(
    store: Store, journal: FailingJournal
) -> None:
    apply(store, Deposit("ann", 5))
    journal.broken = True
    requests = [Look("ann"), Deposit("ann", 7), Look("ann"), Transfer("ann", "ann", 99)]
    applied = store.apply([request(command) for command in requests], 1.0)
    assert [type(answer) for answer in applied.answers] == [JournalUnavailable] * 4
    assert (applied.effects, applied.events, applied.changed) == ([], [], [])
    assert store.rows(["ann"]) == {"ann": Account("ann", 5)}


def test_after_a_failed_commit_the_same_command_is_applied_once(
    store: Store, journal: FailingJournal
) -> None:
    journal.broken = True
    apply(store, Deposit("ann", 5))
    journal.broken = False
    assert apply(store, Deposit("ann", 5)) == [Answer(200, 5, {"etag": "1"})]
    assert store.rows(["ann"]) == {"ann": Account("ann", 5)}


def test_a_commit_that_reached_the_disk_although_it_failed_is_found_there(
    store: Store, journal: FailingJournal
) -> None:
    apply(store, Deposit("ann", 5))
    journal.broken = journal.reached_disk = True
    [failed] = apply(store, Deposit("ann", 7))
    assert isinstance(failed, JournalUnavailable)
    journal.broken = False
    assert apply(store, Deposit("ann", 7)) == [Answer(200, 12, {"etag": "1"})]
    assert store.rows(["ann"]) == {"ann": Account("ann", 12)}


def test_a_fenced_store_acknowledges_nothing_and_forgets_its_rows(
    volume: Volume, store: Store
) -> None:
    apply(store, Deposit("ann", 5))
    newer = Store(bank, MemoryJournal(volume, IDENTITY))
    apply(newer, Deposit("ann", 1))
    [fenced] = apply(store, Deposit("ann", 7))
    assert isinstance(fenced, Fenced)
    assert store.rows(["ann"]) == newer.rows(["ann"]) == {"ann": Account("ann", 6)}


# --- bugs, and memory ----------------------------------------------------------------------------


def test_a_bug_in_the_rules_is_its_own_callers_alone(store: Store) -> None:
    found = apply(store, Deposit("ann", 5), Stumble("ann"), Deposit("ann", 1))
    assert isinstance(found[1], Defect)
    assert found[2] == Answer(200, 6, {"etag": "1"})
    assert len(store.story("ann")) == 2


def test_a_row_that_cannot_be_written_fails_its_batch_and_the_next_one_works(store: Store) -> None:
    apply(store, Deposit("bob", 1))
    found = apply(store, Deposit("bob", 2), Deposit("ann", bank.UNWRITABLE))
    assert [type(each) for each in found] == [JournalUnavailable] * 2
    assert apply(store, Deposit("bob", 2)) == [Answer(200, 3, {"etag": "1"})]
    assert store.rows(["ann", "bob"]) == {"ann": None, "bob": Account("bob", 3)}


def test_rows_that_were_not_touched_for_longest_leave_memory_and_come_back(
    journal: FailingJournal,
) -> None:
    store = Store(bank, journal, cached=3)
    for number in range(10):
        apply(store, Deposit(f"account-{number}", number + 1))
    assert len(store._cache) == 3
    found = store.rows(f"account-{number}" for number in range(10))
    assert [row.balance for row in found.values()] == list(range(1, 11))
    assert len(store._cache) == 3


# --- batching changes nothing --------------------------------------------------------------------

names = st.sampled_from(["ann", "bob"])
amounts = st.integers(1, 9)
commands = st.one_of(
    st.builds(Deposit, names, amounts),
    st.builds(Transfer, names, names, amounts),
    st.builds(Close, names),
    st.builds(Look, names),
)


@given(st.lists(st.lists(commands, max_size=4), max_size=5))
def test_any_batching_gives_the_answers_and_rows_of_one_at_a_time(batches: list[list[Any]]) -> None:
    stores = []
    for _ in range(2):
        volume = Volume()
        initialise(volume, IDENTITY)
        stores.append(Store(bank, MemoryJournal(volume, IDENTITY)))
    together, alone = stores
    for batch in batches:
        expected = [answer for command in batch for answer in apply(alone, command)]
        found = apply(together, *batch)
        assert [(type(a), str(a)) for a in found] == [(type(a), str(a)) for a in expected]
    assert together.rows(["ann", "bob"]) == alone.rows(["ann", "bob"])
