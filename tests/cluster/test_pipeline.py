"""Group commit: what is decided while a commit waits for the disk goes into the next one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import bank
import pytest
from bank import Account, Deposit
from test_store import IDENTITY, FailingJournal, request

from cluster.journal.contract import Commit
from cluster.journal.memory import Volume, initialise
from cluster.pipeline import Pipeline
from cluster.store import Batch, Store
from stillhouse.decisions import Answer
from stillhouse.errors import JournalUnavailable

WAIT_S = 30.0  # generous: never part of what is tested


class HeldJournal(FailingJournal):
    """Its commits wait until they are let; `begun` counts those that came to the disk."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume, IDENTITY)
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def commit(self, batch: Commit) -> None:
        self.begun.release()
        assert self.let.acquire(timeout=WAIT_S)
        super().commit(batch)


@pytest.fixture
def journal() -> HeldJournal:
    volume = Volume()
    initialise(volume, IDENTITY)
    return HeldJournal(volume)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def decided(pipeline: Pipeline, store: Store, name: str) -> None:
    """Wait until a deposit to `name` is in the open batch."""
    while not pipeline.read(lambda: store._open is not None and name in store._open.rows):
        pass


def test_what_is_decided_during_a_commit_shares_the_next_one(
    journal: HeldJournal, callers: ThreadPoolExecutor
) -> None:
    told: list[Batch] = []
    store = Store(bank, journal)
    pipeline = Pipeline(store, lambda batch, _: told.append(batch))
    first = callers.submit(pipeline.apply, [request(Deposit("ann", 1))], 1.0)
    assert journal.begun.acquire(timeout=WAIT_S)
    rest = []
    for name in ("bob", "cid"):
        rest.append(callers.submit(pipeline.apply, [request(Deposit(name, 2))], 1.0))
        decided(pipeline, store, name)
    again = callers.submit(pipeline.apply, [request(Deposit("ann", 3))], 1.0)
    decided(pipeline, store, "ann")
    assert not first.done()
    assert store.rows(["ann"]) == {"ann": None}  # committed rows alone
    journal.let.release(2)
    assert first.result(WAIT_S) == [Answer(200, 1, {"etag": "1"})]
    assert again.result(WAIT_S) == [Answer(200, 4, {"etag": "1"})]  # on top of the first
    assert [each.result(WAIT_S)[0].status for each in rest] == [200, 200]
    assert pipeline.read(lambda: store.rows(["ann"])) == {"ann": Account("ann", 4)}
    assert [len(batch.events) for batch in told] == [1, 3]


def test_a_failed_commit_fails_the_batch_on_top_of_it_too_and_the_next_one_works(
    journal: HeldJournal, callers: ThreadPoolExecutor
) -> None:
    store = Store(bank, journal)
    pipeline = Pipeline(store, lambda *_: None)
    journal.broken = True
    first = callers.submit(pipeline.apply, [request(Deposit("ann", 1))], 1.0)
    assert journal.begun.acquire(timeout=WAIT_S)
    second = callers.submit(pipeline.apply, [request(Deposit("ann", 2))], 1.0)
    decided(pipeline, store, "ann")
    journal.let.release()
    for failed in (first, second):
        assert isinstance(failed.result(WAIT_S)[0], JournalUnavailable)
    journal.broken = False
    journal.let.release()
    assert pipeline.apply([request(Deposit("ann", 2))], 1.0) == [Answer(200, 2, {"etag": "1"})]


def test_a_repeat_of_what_is_on_its_way_is_answered_once_that_is_durable(
    journal: HeldJournal, callers: ThreadPoolExecutor
) -> None:
    store = Store(bank, journal)
    pipeline = Pipeline(store, lambda *_: None)
    first = callers.submit(pipeline.apply, [request(Deposit("ann", 1))], 1.0)
    assert journal.begun.acquire(timeout=WAIT_S)
    repeat = callers.submit(pipeline.apply, [request(Deposit("ann", 1))], 1.0)
    while not pipeline.read(lambda: store._open is not None):
        pass
    assert not repeat.done()
    journal.let.release()
    assert first.result(WAIT_S) == repeat.result(WAIT_S) == [Answer(200, 1, {"etag": "1"})]
    assert pipeline.read(lambda: store.rows(["ann"])) == {"ann": Account("ann", 1)}


def test_chores_run_between_commits(journal: HeldJournal, callers: ThreadPoolExecutor) -> None:
    pipeline = Pipeline(Store(bank, journal), lambda *_: None)
    running = callers.submit(pipeline.apply, [request(Deposit("ann", 1))], 1.0)
    assert journal.begun.acquire(timeout=WAIT_S)
    done = threading.Event()
    chore = callers.submit(pipeline.between, done.set)
    assert not done.is_set()  # the commit is under way
    journal.let.release()
    chore.result(WAIT_S)
    assert done.is_set()
    running.result(WAIT_S)
