"""A cluster without Ray for devices: real rules, real seals, the real API and chunk listener."""

import os
import time
from collections.abc import AsyncIterator
from typing import Any

import tiny
from fakes import CLUSTER, SIGNER, LocalBackend

from actors.deliveries import ServerKeys, make_delivery, missing, payloads
from actors.gate import Gate
from actors.listener import ROUTE, chunk_app
from actors.reading import order
from actors.registration import announcement
from cluster.store import Store
from serve_app.app import create_app
from stillhouse.brief import compress_order, plan_input
from stillhouse.commands import Announce, Compressed, Decided, Planned
from stillhouse.compress.container import Family
from stillhouse.compress.pack import Pack, build_pack
from stillhouse.decisions import Answer, Effect, Request
from stillhouse.entities import SYSTEM, Principal, Role
from stillhouse.grants import grant
from stillhouse.jobs import ON_CLUSTER, Kind
from stillhouse.planner import plan
from stillhouse.rows import DeliveryRow, DistillationJobRow
from stillhouse.verdict import judge
from stillhouse.versions import (
    FILES,
    CompleteFile,
    Evaluated,
    FamilyBuilt,
    Measured,
    StartUpload,
    version_key,
)
from stillhouse.wire.seal import ChunkPlace, sealed_chunk

OWNER = Principal(id="own-00000000-0000000000000000", role=Role.OWNER)
KEYS = ServerKeys(CLUSTER, SIGNER, b"a" * 32)


class Plant(LocalBackend):
    """A backend whose effects run at once; everything is served at `url`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.chunk_url = url
        self.signer = KEYS
        self._packs: dict[str, Pack] = {}
        self._families: dict[str, Family] = {}
        authorities = (url.removeprefix("http://"),)
        api = create_app(self, self.find, authorities, open_enrolment=True)
        chunks = Gate(chunk_app(self.open_chunk), self.find, authorities)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (chunks if ROUTE.match(scope.get("path", "")) else api)(scope, receive, send)

        self.app = app

    def announce(self, name: str, family: Family | None = None, version: int = 1) -> None:
        """The tiny central model with its family, as if its registration had just ended."""
        family = family or tiny.family()
        self._families[family.digest] = family
        spec = tiny.SPEC.model_copy(update={"files": dict.fromkeys(FILES, str(version) * 64)})
        measured = Measured(
            accuracy=tiny.REGISTERED[0],
            accuracy_se=tiny.REGISTERED[1],
            evaluation_set="d" * 64,
            size_bytes=6000,
            parameters=1500,
        )
        self._do(self.store, OWNER, StartUpload(name, spec))
        for file in FILES:
            self._do(self.store, OWNER, CompleteFile(name, version, file, str(version) * 64))
        self._do(self.store, SYSTEM, Evaluated(name, version, 1, measured))
        key = version_key(name, version)
        model = announcement(self.store.rows([key])[key], measured, family)
        self._do(self.store, SYSTEM, FamilyBuilt(name, version, 1, model, family.table))
        self._do(self.shard, SYSTEM, Announce(name, model))

    def job(self, id: str) -> DistillationJobRow:
        row: DistillationJobRow = self.shard.rows([id])[id]
        return row

    def deliveries(self, job_id: str) -> list[DeliveryRow]:
        return list(self.shard.rows(self.job(job_id).deliveries).values())

    def events(self, job_id: str) -> list[str]:
        """The kinds of what happened to a job, in order."""
        return [data.decode().partition(" ")[0] for _, _, data in self.shard.story(job_id)]

    async def open_chunk(
        self, who: Principal, delivery_id: str, index: int, first: int
    ) -> AsyncIterator[memoryview]:
        delivery = self.shard.rows([delivery_id])[delivery_id]
        job = self.shard.rows([delivery.job_id])[delivery.job_id]
        granted = grant(delivery, job, who, index, time.time())
        length = granted.chunk.length
        place = ChunkPlace(delivery.client_id, delivery_id, delivery.attempt, index, length)
        chunk = payloads(self._packs[delivery_id])[index]
        tk = self.signer.transfer_key(delivery)
        _, records = sealed_chunk(tk, self.signer.acks, place, chunk, first)

        async def stream() -> AsyncIterator[memoryview]:
            for record in records:
                yield record

        return stream()

    def _apply(self, store: Store, request: Request) -> Answer:
        answer = super()._apply(store, request)
        while self.effects:
            effect = self.effects.pop(0)
            if effect.kind in ON_CLUSTER:
                self._do(self.shard, SYSTEM, self._result(effect))
        return answer

    def _do(self, store: Store, who: Principal, command: Any) -> None:
        self._apply(store, Request(repr(command), "digest", who, command))

    def _result(self, effect: Effect) -> Planned | Decided | Compressed:
        read = order(self.shard, effect.job_id)
        job, owner, held, previous, prior, held_before = read
        place, known = (effect.job_id, effect.node, effect.attempt), (prior, held_before)
        assert job.model is not None
        family = self._families[job.model.family_digest]
        if effect.kind == Kind.PLAN:
            given = plan_input(job, owner, held, family.table, job.round + 1, *known)
            return Planned(*place, plan(given))
        if effect.kind == Kind.DECIDE:
            return Decided(
                *place, judge(plan_input(job, owner, held, family.table, job.round, *known))
            )
        asked = compress_order(job, owner, held, job.graph[effect.node], previous)
        pack = build_pack(family, missing(asked), self._families)
        row = make_delivery(asked, pack, self.signer, self.chunk_url, time.time(), os.urandom)
        self._packs[row.id] = pack
        return Compressed(*place, row)
