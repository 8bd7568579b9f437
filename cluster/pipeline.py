"""Group commit: callers decide under one lock, one thread makes durable what was decided meanwhile.

While a commit waits for the disk, the next batch is decided on top of it; so each commit carries
whatever came during the one before, and nobody waits for more than two.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from cluster.store import Batch, Store
from stillhouse.decisions import Answer, Request
from stillhouse.errors import StillhouseError

T = TypeVar("T")
Told = Callable[[Batch, float], None]  # a committed batch, and the seconds that its commit took


class Pipeline:
    """A store for many threads; `told` hears of each committed batch, in order."""

    def __init__(self, store: Store, told: Told) -> None:
        self._store, self._told = store, told
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._chores: list[tuple[Callable[[], Any], Future[Any]]] = []
        threading.Thread(target=self._commit_forever, name="commit", daemon=True).start()

    def apply(self, requests: Sequence[Request], now: float) -> list[Answer | StillhouseError]:
        """Decide on a batch; returns once its commit is durable, or has failed."""
        with self._lock:
            batch, answers = self._store.decide(requests, now)
            self._work.notify()
        batch.settled.wait()
        return [batch.failure] * len(requests) if batch.failure is not None else answers

    def read(self, ask: Callable[[], T]) -> T:
        """What `ask` reads from the store or its journal, while nobody else does."""
        with self._lock:
            return ask()

    def between(self, chore: Callable[[], T]) -> T:
        """Do in the commits' own thread, between two of them, what writes to the journal too."""
        done: Future[T] = Future()
        with self._lock:
            self._chores.append((chore, done))
            self._work.notify()
        return done.result()

    def _commit_forever(self) -> None:
        while True:
            with self._lock:
                while (batch := self._store.take()) is None and not self._chores:
                    self._work.wait()
                chores, self._chores = self._chores, []
            for chore, done in chores:
                do(chore, done)
            if batch is not None:
                self._commit(batch)

    def _commit(self, batch: Batch) -> None:
        began = time.perf_counter()
        self._store.commit(batch)
        took = time.perf_counter() - began
        with self._lock:
            self._store.settle(batch)
        self._told(batch, took)


def do(chore: Callable[[], T], done: Future[T]) -> None:
    """Its result, or what it raised, goes to who waits for it."""
    try:
        done.set_result(chore())
    except Exception as error:
        done.set_exception(error)
