"""ChunkServer: packs knowledge, seals it for one client, streams it from its own listener.

It is the home of its packs: one compression task a pack however many clients wait for it, and the
task's result is owned here. The shard decides who may fetch what (`grants`); nothing is decided
here. Plaintext exists in this process alone, for as long as a pack is in use.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import ray

from actors.deliveries import ServerKeys, make_delivery, missing, payloads
from actors.desk import own
from actors.effects import report
from actors.gate import Gate
from actors.keyring import Keyring
from actors.listener import chunk_app, listen
from actors.packs import Packs
from actors.patience import call
from actors.settings import CHUNK_SERVER, VAULT, ActorSettings
from cluster.metrics import Metrics
from stillhouse.brief import CompressOrder
from stillhouse.commands import Compressed, EffectFailed, Renew
from stillhouse.compress.pack import Pack
from stillhouse.entities import ChunkRecipe, Principal
from stillhouse.errors import VerificationFailed
from stillhouse.grants import Grant
from stillhouse.ids import shard_of
from stillhouse.observations import BYTES_SENT, Observation
from stillhouse.wire.seal import ChunkPlace, sealed_chunk

RENEW_S = 60.0  # while bytes go out


class ChunkServer:
    """One a node. `prepare` is an effect of a shard; the listener serves what it prepared.

    Ray makes an actor with a coroutine among its methods run one call at a time: what streams is
    `Streams`, so that orders are prepared side by side.
    """

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._keys = ServerKeys.load(settings)
        vault = ray.get_actor(VAULT, settings.namespace)
        self._packs = Packs(settings, self._keys.cluster, vault)
        streams = Streams(settings, self._keys, self._packs)
        gate = Gate(chunk_app(streams.open_chunk), Keyring(settings).find, settings.authorities)
        listen(gate, settings.host, settings.chunk_port)

    def prepare(self, order: CompressOrder, manager: Any) -> None:
        """Make the delivery of an order; the shard hears of it, or of the failure."""
        place = (order.job_id, order.node, order.attempt)

        def result() -> Compressed:
            family, wanted = order.model.family_digest, missing(order)
            pack = self._packs.get(family, wanted, (order.job_id, order.node), going)
            url = self._settings.chunk_url
            row = make_delivery(order, pack, self._keys, url, time.time(), os.urandom)
            return Compressed(*place, row)

        def going() -> None:
            manager.apply.remote([own(Renew(*place, "its pack is being built"))])

        def failure(error: str) -> EffectFailed:
            return EffectFailed(*place, error)

        report(manager, "/".join(map(str, place)), result, failure)

    @ray.method(concurrency_group="cancel")
    def cancel(self, job_id: str, node: str) -> None:
        """Nobody wants this order any more; its compression ends, unless others wait for it."""
        self._packs.cancel((job_id, node))

    def ready(self) -> int:
        """Answers once the listener is up; this process's id, for whoever kills it in a test."""
        return os.getpid()


class Streams:
    """What the listener asks for: the records of one chunk, once the shard has granted it."""

    def __init__(self, settings: ActorSettings, keys: ServerKeys, packs: Packs) -> None:
        self._settings, self._keys, self._packs = settings, keys, packs
        self._metrics = Metrics(CHUNK_SERVER, {})

    async def open_chunk(
        self, who: Principal, delivery_id: str, index: int, first: int
    ) -> AsyncIterator[memoryview]:
        """The records of a chunk from `first` on."""
        name = self._settings.manager(shard_of(delivery_id, self._settings.shards))
        asked = (who, delivery_id, index)
        grant: Grant = await call(self._settings.namespace, name, "grant", *asked)
        place = (grant.delivery.family_digest, recipes(grant), (delivery_id, index))
        pack = await asyncio.to_thread(self._packs.get, *place)
        return self._records(grant, pack, first)

    async def _records(self, grant: Grant, pack: Pack, first: int) -> AsyncIterator[memoryview]:
        row, index = grant.delivery, grant.index
        if pack.chunks != row.chunks:
            raise VerificationFailed("the rebuilt pack differs from the one that was promised")
        length = grant.chunk.length
        place = ChunkPlace(row.client_id, row.id, row.attempt, index, length, row.record_bytes)
        tk = self._keys.transfer_key(row)
        _, records = sealed_chunk(tk, self._keys.acks, place, payloads(pack)[index], first)
        kind, renewed = (grant.chunk.recipe.kind,), time.monotonic()
        for record in records:
            yield record
            self._metrics.record([Observation(BYTES_SENT, kind, len(record))])
            if time.monotonic() - renewed > RENEW_S:
                renewed = time.monotonic()
                self._renew(grant)

    def _renew(self, grant: Grant) -> None:
        """Bytes go out: the transfer does not time out, however slow its line."""
        job_id, node = grant.delivery.job_id, grant.transfer
        name = self._settings.manager(shard_of(job_id, self._settings.shards))
        renew = own(Renew(job_id, node.id, node.attempt, "bytes are on their way"))
        ray.get_actor(name, self._settings.namespace).apply.remote([renew])


def recipes(grant: Grant) -> tuple[ChunkRecipe, ...]:
    """What the delivery's pack was built from."""
    return tuple(chunk.recipe for chunk in grant.delivery.chunks)
