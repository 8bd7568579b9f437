"""ChunkServer: packs knowledge, seals it for one client, streams it from its own listener.

It is the home of its packs: one compression task a pack however many clients wait for it, and the
task's result is owned here. The shard decides who may fetch what (`grants`); nothing is decided
here. Plaintext exists in this process alone, for as long as a pack is in use.
"""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import ray

from actors.deliveries import ServerKeys, make_delivery, missing, payloads
from actors.effects import report
from actors.gate import Gate
from actors.keyring import Keyring
from actors.listener import chunk_app, listen
from actors.packing import compress, open_pack, pack_key
from actors.settings import CHUNK_SERVER, VAULT, ActorSettings
from cluster.metrics import Metrics
from stillhouse.brief import CompressOrder
from stillhouse.commands import Compressed, EffectFailed
from stillhouse.compress.pack import Pack
from stillhouse.entities import ChunkRecipe, Principal
from stillhouse.errors import VerificationFailed
from stillhouse.grants import Grant
from stillhouse.ids import shard_of
from stillhouse.observations import BYTES_SENT, Observation
from stillhouse.wire.seal import ChunkPlace, sealed_chunk

OPEN_PACKS = 64  # plaintext packs kept open at once


class ChunkServer:
    """One a node. `prepare` is an effect of a shard; the listener serves what it prepared."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._keys = ServerKeys.load(settings)
        self._refs: dict[str, Any] = {}  # pack key -> sealed pack in the object store, owned here
        self._open: dict[str, Pack] = {}
        self._single_flight = threading.Lock()
        self._metrics = Metrics(CHUNK_SERVER, {})
        self._vault = ray.get_actor(VAULT, settings.namespace)
        gate = Gate(chunk_app(self.open_chunk), Keyring(settings).find, settings.authorities)
        listen(gate, settings.host, settings.chunk_port)

    def prepare(self, order: CompressOrder, manager: Any) -> None:
        """Make the delivery of an order; the shard hears of it, or of the failure."""
        place = (order.job_id, order.node, order.attempt)

        def result() -> Compressed:
            pack = self._pack(order.model.family_digest, missing(order))
            url = self._settings.chunk_url
            row = make_delivery(order, pack, self._keys, url, time.time(), os.urandom)
            return Compressed(*place, row)

        def failure(error: str) -> EffectFailed:
            return EffectFailed(*place, error)

        report(manager, "/".join(map(str, place)), result, failure)

    async def open_chunk(
        self, who: Principal, delivery_id: str, index: int, first: int
    ) -> AsyncIterator[memoryview]:
        """The records of a chunk from `first` on, once the shard has granted it."""
        name = self._settings.manager(shard_of(delivery_id, self._settings.shards))
        manager = ray.get_actor(name, self._settings.namespace)
        grant: Grant = await manager.grant.remote(who, delivery_id, index)
        family = grant.delivery.family_digest
        pack = await asyncio.to_thread(self._pack, family, recipes(grant))
        return self._records(grant, pack, first)

    def ready(self) -> int:
        """Answers once the listener is up; this process's id, for whoever kills it in a test."""
        return os.getpid()

    async def _records(self, grant: Grant, pack: Pack, first: int) -> AsyncIterator[memoryview]:
        row, index = grant.delivery, grant.index
        if pack.chunks != row.chunks:
            raise VerificationFailed("the rebuilt pack differs from the one that was promised")
        length = grant.chunk.length
        place = ChunkPlace(row.client_id, row.id, row.attempt, index, length, row.record_bytes)
        tk = self._keys.transfer_key(row)
        _, records = sealed_chunk(tk, self._keys.acks, place, payloads(pack)[index], first)
        kind = (grant.chunk.recipe.kind,)
        for record in records:
            yield record
            self._metrics.record([Observation(BYTES_SENT, kind, len(record))])

    def _pack(self, family_digest: str, wanted: Sequence[ChunkRecipe]) -> Pack:
        """The opened pack; built once, and built again if its object was lost."""
        key = pack_key(family_digest, wanted)
        with self._single_flight:
            if key not in self._open:
                if len(self._open) >= OPEN_PACKS:
                    self._open.pop(next(iter(self._open)))
                self._open[key] = self._build(key, family_digest, wanted)
            return self._open[key]

    def _build(self, key: str, family_digest: str, wanted: Sequence[ChunkRecipe]) -> Pack:
        if key not in self._refs:
            task = compress.options(name=f"compress {len(wanted)} chunks, pack {key[:8]}")
            folder = self._settings.keys
            self._refs[key] = task.remote(family_digest, tuple(wanted), folder, self._vault)
        try:
            return open_pack(ray.get(self._refs[key]), self._keys.cluster, key)
        except ray.exceptions.RayError:
            del self._refs[key]  # the next caller builds it anew
            raise


def recipes(grant: Grant) -> tuple[ChunkRecipe, ...]:
    """What the delivery's pack was built from."""
    return tuple(chunk.recipe for chunk in grant.delivery.chunks)
