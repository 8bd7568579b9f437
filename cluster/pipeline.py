"""Group commit: callers decide under one lock, one thread makes durable what was decided meanwhile.

While a commit waits for the disk, the next batch is decided on top of it; so each commit carries
whatever came during the one before, and nobody waits for more than two.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

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
        self._decided = threading.Condition(self._lock)
        threading.Thread(target=self._commit_forever, name="commit", daemon=True).start()

    def apply(self, requests: Sequence[Request], now: float) -> list[Answer | StillhouseError]:
        """Decide on a batch; returns once its commit is durable, or has failed."""
        with self._lock:
            batch, answers = self._store.decide(requests, now)
            self._decided.notify()
        batch.settled.wait()
        return [batch.failure] * len(requests) if batch.failure is not None else answers

    def read(self, ask: Callable[[], T]) -> T:
        """What `ask` reads from the store or its journal, while nobody else does."""
        with self._lock:
            return ask()

    def _commit_forever(self) -> None:
        while True:
            with self._lock:
                while (batch := self._store.take()) is None:
                    self._decided.wait()
            began = time.perf_counter()
            self._store.commit(batch)
            took = time.perf_counter() - began
            with self._lock:
                self._store.settle(batch)
            self._told(batch, took)
