"""Fakes of our own protocols: the API's backend over the real rules, store and memory journal."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from actors.desk import Desk
from actors.reading import ClientWork, client_work
from cluster.journal.contract import JournalIdentity
from cluster.journal.memory import MemoryJournal, Volume, initialise
from cluster.store import Applied, Store
from stillhouse import shard, vault
from stillhouse.decisions import Answer, Effect, Request, Rules
from stillhouse.entities import Principal
from stillhouse.errors import Conflict, NotFound, StillhouseError
from stillhouse.ids import client_hash
from stillhouse.listing import Filters, Position
from stillhouse.rows import DeadLetterRow, DistillationJobRow, PrincipalRow
from stillhouse.versions import NameRow, name_key, version_key
from stillhouse.wire.identity import ClusterKey
from stillhouse.wire.messages import TrustAnchors

SIGNER = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
CLUSTER = ClusterKey(b"c" * 32)


def memory() -> MemoryJournal:
    """A fresh journal in memory."""
    volume, identity = Volume(), JournalIdentity("test", "shard-0", 1, 1)
    initialise(volume, identity)
    return MemoryJournal(volume, identity)


class Inline:
    """A line without threads: every call is a commit of its own, told when it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.applied: list[Applied] = []

    def apply(self, requests: Sequence[Request], now: float) -> list[Answer | StillhouseError]:
        self.applied.append(self._store.apply(requests, now))
        return self.applied[-1].answers

    def read(self, ask: Callable[[], Any]) -> Any:
        return ask()

    def told(self) -> list[Applied]:
        """The commits since the last time."""
        told, self.applied = self.applied, []
        return told


class LocalShard:
    """A shard in this process: its store, and its desk, which starts at once what is ready."""

    def __init__(self) -> None:
        self.journal = memory()
        self.store = Store(rules(shard), self.journal)
        self.line = Inline(self.store)
        self.desk = Desk(self.line, self.store, self.journal, in_flight=1000)
        self.effects: list[Effect] = []  # that would have been started

    def do(self, request: Request, now: float) -> Answer | StillhouseError:
        [answer] = self.line.apply([request], now)
        began = 1
        while began:
            for applied in self.line.told():
                self.desk.note(applied.events)
                self.effects += applied.effects
            began = self.desk.start_ready(now)
        return answer


class LocalBackend:
    """One shard and the vault in this process; `effects` are what would have been started."""

    chunk_url = "http://127.0.0.1:8701"
    open_jobs: int | None = None

    def __init__(self) -> None:
        self.anchors = TrustAnchors(
            manifest_keys=(SIGNER.public_key().public_bytes_raw().hex(),),
            cluster_key=CLUSTER.public.hex(),
        )
        self.local = LocalShard()
        self.shard, self.journal = self.local.store, self.local.journal
        self.store = Store(rules(vault), memory())
        self.effects: list[Any] = []
        self.files: dict[tuple[str, int, str], bytes] = {}

    async def apply(self, id: str, request: Request) -> Answer:
        client_hash(id)  # NotFound, as where it names the shard
        return self._apply(self.shard, request)

    async def vault(self, request: Request) -> Answer:
        return self._apply(self.store, request)

    def _apply(self, store: Store, request: Request) -> Answer:
        if store is self.shard:
            answer = self.local.do(request, time.time())
            self.effects, self.local.effects = self.effects + self.local.effects, []
        else:
            applied = store.apply([request], time.time())
            self.effects += applied.effects
            [answer] = applied.answers
        if isinstance(answer, StillhouseError):
            raise answer
        return answer

    async def rows(self, id: str, keys: Sequence[str]) -> dict[str, Any]:
        client_hash(id)
        return self.shard.rows(keys)

    async def work(self, client_id: str) -> ClientWork | None:
        client_hash(client_id)
        return client_work(self.shard, self.journal, client_id)

    async def dead_letters(self, after: Position, limit: int) -> list[DeadLetterRow]:
        return list(self.shard.rows(self.journal.dead(after, limit)).values())

    async def vault_rows(self, keys: Sequence[str]) -> dict[str, Any]:
        return self.store.rows(keys)

    async def story(
        self, id: str, after: int = 0, limit: int = 10_000
    ) -> list[tuple[int, float, bytes]]:
        return self.shard.story(id, after, limit)

    async def jobs(self, filters: Filters, after: Position, limit: int) -> list[DistillationJobRow]:
        return self.shard.listing(filters, after, limit)

    async def names(self, after: str, limit: int) -> list[NameRow]:
        return self.store.keyed(name_key(""), name_key(after), limit)

    async def newer(self, client_id: str, cursor: str, wait_s: float) -> str:
        await asyncio.sleep(min(wait_s, 0.01))
        return "now"

    async def build_progress(self, name: str) -> float:
        return 0.5

    async def append(
        self, who: Principal, name: str, version: int, file: str, offset: int, data: bytes
    ) -> tuple[int, str | None]:
        key = version_key(name, version)
        row = self.store.rows([key])[key]
        if row is None or row.owner_id != who.id or file not in row.spec.files:
            raise NotFound(f"no such version: {name}@{version}")
        held = self.files.get((name, version, file), b"")
        if file not in row.received and offset + len(data) > len(held):
            if offset != len(held):
                raise Conflict(f"{file} has {len(held)} bytes: go on from there")
            held += data
        self.files[name, version, file] = held
        digest = hashlib.sha256(held).hexdigest()
        return len(held), digest if digest == row.spec.files[file] else None

    async def ready(self) -> None:
        """Always."""

    async def find(self, key_id: str) -> tuple[Principal, str] | None:
        """What `actors.keyring` does over Ray."""
        id, _, number = key_id.partition("/")
        row = self.shard.rows([id])[id] or self.store.rows([id])[id]
        keys = {str(pair.number): pair.sign for pair in getattr(row, "keys", ())}
        if not isinstance(row, PrincipalRow) or number not in keys:
            return None
        return Principal(id=row.id, role=row.role), keys[number]


def rules(module: Any) -> Rules:
    """A rule module satisfies the protocol as it is."""
    return module  # type: ignore[no-any-return]
