"""Packs of one chunk server: built once however many wait for one, opened in this process alone.

Whoever submits the compression task owns its result, so a pack lives as long as its home.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import ray

from actors.packing import compress, open_pack, pack_key
from actors.settings import ActorSettings
from stillhouse.compress.pack import Pack
from stillhouse.entities import ChunkRecipe
from stillhouse.wire.identity import ClusterKey

GOING_S = 60.0  # between two words that a build goes on
OPEN_PACKS = 64  # plaintext packs kept open at once


class Packs:
    """By recipe key; for many threads."""

    def __init__(self, settings: ActorSettings, cluster: ClusterKey, vault: Any) -> None:
        self._settings, self._cluster, self._vault = settings, cluster, vault
        self._tasks: dict[str, Any] = {}  # sealed packs in the object store, owned here
        self._open: dict[str, Pack] = {}
        self._single_flight: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._waiting: defaultdict[str, Counter[Hashable]] = defaultdict(Counter)
        self._lock = threading.Lock()  # of the four above, never held while anything runs

    def get(
        self,
        family_digest: str,
        wanted: Sequence[ChunkRecipe],
        who: Hashable,
        going: Callable[[], None] = lambda: None,
    ) -> Pack:
        """The opened pack; built once, and built again if its object was lost.

        `going` is called now and then while its task runs.
        """
        key = pack_key(family_digest, wanted)
        with self._lock:
            self._waiting[key][who] += 1  # the same order may come twice: its sender restarted
            single_flight = self._single_flight[key]
        try:
            with single_flight:
                if key not in self._open:
                    self._keep(key, self._build(key, family_digest, wanted, going))
                return self._open[key]
        finally:
            with self._lock:
                self._leave(key, who)

    def cancel(self, who: Hashable) -> None:
        """`who` no longer waits; a compression that nobody else waits for ends."""
        with self._lock:
            alone = [key for key, waiting in self._waiting.items() if set(waiting) == {who}]
            tasks = [self._tasks[key] for key in alone if key in self._tasks]
        for task in tasks:
            ray.cancel(task)

    def _leave(self, key: str, who: Hashable) -> None:
        self._waiting[key] -= Counter([who])
        if not self._waiting[key]:
            del self._waiting[key], self._single_flight[key]

    def _keep(self, key: str, pack: Pack) -> None:
        with self._lock:
            if len(self._open) >= OPEN_PACKS:
                self._open.pop(next(iter(self._open)))
            self._open[key] = pack

    def _build(
        self,
        key: str,
        family_digest: str,
        wanted: Sequence[ChunkRecipe],
        going: Callable[[], None],
    ) -> Pack:
        with self._lock:
            if key not in self._tasks:
                task = compress.options(name=f"compress {len(wanted)} chunks, pack {key[:8]}")
                folder = self._settings.keys
                self._tasks[key] = task.remote(family_digest, tuple(wanted), folder, self._vault)
            made = self._tasks[key]
        try:
            while not ray.wait([made], timeout=GOING_S)[0]:
                going()
            return open_pack(ray.get(made), self._cluster, key)
        except ray.exceptions.RayError:
            with self._lock:
                del self._tasks[key]  # the next caller builds it anew
            raise
