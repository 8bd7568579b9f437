"""ModelVault: the mailbox of central models, families, owners and operators; publishes a feed.

The rules are `stillhouse.vault`. What it keeps on disk (uploads, families) is sealed: this process
never opens an artefact, and never reads the cluster's private key.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from actors import registration
from actors.desk import system
from actors.job_manager import tick_forever
from actors.settings import ActorSettings
from cluster.artefacts import Artefacts
from cluster.journal.contract import JournalIdentity
from cluster.journal.sqlite import SqliteJournal
from cluster.metrics import Metrics
from cluster.store import Store
from stillhouse import vault as rules
from stillhouse.commands import Announce, AnnouncePrior, Record
from stillhouse.decisions import Answer, Effect, Request
from stillhouse.entities import FamilyTable, Principal, Role
from stillhouse.errors import NotFound, StillhouseError
from stillhouse.events import AliasSet, ModelAnnounced, PriorPublished
from stillhouse.observations import observations
from stillhouse.versions import (
    EVENTS,
    NameRow,
    RegistrationFailed,
    VersionRow,
    name_key,
    table_key,
    version_key,
)

FEED_PAGE = 100


def identity(settings: ActorSettings) -> JournalIdentity:
    return JournalIdentity(settings.cluster_id, "vault", settings.shards)


class ModelVault:
    """Central models and what was built from them."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._journal = SqliteJournal(settings.state / "vault.sqlite", identity(settings))
        self._store = Store(rules, self._journal)
        self._artefacts = Artefacts(settings.state / "artefacts")
        self._families = Artefacts(settings.family_folder)
        self._progress: dict[str, float] = {}
        self._metrics = Metrics("vault", {})
        self._start(self._journal.outbox())
        tick_forever(settings.tick_s)

    def apply(self, requests: Sequence[Request]) -> list[Answer | StillhouseError]:
        """Decide on a batch; answers come after the commit, as do effects and the feed's nudge."""
        applied = self._store.apply(requests, time.time())
        self._metrics.record(observations(applied.events, applied.changed))
        self._start(applied.effects)
        if any(announced(event) for event in applied.events):
            self._nudge()
        return applied.answers

    def rows(self, keys: Sequence[str]) -> dict[str, Any]:
        return self._store.rows(keys)

    def names(self, after: str, limit: int) -> list[NameRow]:
        """Central models by name, those behind `after`."""
        return self._store.keyed(name_key(""), name_key(after), limit)

    def feed(self, after: int) -> list[tuple[int, Record]]:
        """What was published after this sequence number, oldest first."""
        records: list[tuple[int, Record]] = []
        while page := self._journal.events_after(after, FEED_PAGE):
            decoded = ((each.sequence, announced(EVENTS.decode(each.data))) for each in page)
            records += [(sequence, record) for sequence, record in decoded if record]
            after = page[-1].sequence
        return records

    def table(self, family_digest: str) -> FamilyTable:
        row = self._store.rows([table_key(family_digest)])[table_key(family_digest)]
        if row is None:
            raise NotFound(f"no family {family_digest}")
        table: FamilyTable = row.table
        return table

    def append_file(
        self, who: Principal, name: str, version: int, file: str, offset: int, data: bytes
    ) -> tuple[int, str | None]:
        """Store a part of a sealed upload; the length so far and, if it is whole, its digest.

        A part that is there already, or of a file that was complete, changes nothing.
        """
        row = self._owned(who, name, version)
        if file not in row.spec.files:
            raise NotFound(f"{name}@{version} has no file {file!r}")
        place = upload_place(name, version, file)
        if file not in row.received and offset + len(data) > self._artefacts.length(place):
            self._artefacts.append(place, offset, data)
        digest = self._artefacts.digest(place)
        length = self._artefacts.length(place)
        return length, digest if digest == row.spec.files[file] else None

    def artefact(self, name: str) -> Any:
        """A sealed artefact as numpy uint8, which the object store hands on without a copy."""
        return np.frombuffer(self._artefacts.get(name), dtype=np.uint8)

    def family(self, digest: str) -> Any:
        """A sealed family, as it was kept."""
        return np.frombuffer(self._families.get(family_place(digest)), dtype=np.uint8)

    def built(self, key: str) -> str | None:
        """The digest of the family that a build of this recipe key left."""
        place = build_place(key)
        return self._families.get(place).decode() if self._families.has(place) else None

    def note_progress(self, name: str, share: float) -> None:
        """How far the build of a family is; in memory alone."""
        self._progress[name] = share

    def progress(self, name: str) -> float:
        return self._progress.get(name, 0.0)

    def store_family(self, digest: str, sealed: Any, key: str) -> None:
        """Keep a family, and what it was built from; before the commit that names it."""
        self._families.put(family_place(digest), sealed.tobytes())
        self._families.put(build_place(key), digest.encode())

    def tick(self) -> None:
        """Start registrations again whose result is overdue."""
        late = self._journal.due(time.time(), FEED_PAGE)
        requests = []
        for due in late:
            name, _, version = due.job_id.partition("@")
            failed = RegistrationFailed(name, int(version), due.attempt, "no result in time")
            requests.append(system(f"expire/{due.job_id}/{due.attempt}/{due.at}", failed))
        if requests:
            self.apply(requests)

    def ready(self) -> bool:
        return True

    def _start(self, effects: Sequence[Effect]) -> None:
        me = ray.get_runtime_context().current_actor
        for effect in effects:
            name, _, version = effect.job_id.partition("@")
            key = version_key(name, int(version))
            registration.start(effect, self._store.rows([key])[key], self._settings, me)

    def _nudge(self) -> None:
        for shard in range(self._settings.shards):
            name = self._settings.manager(shard)
            ray.get_actor(name, self._settings.namespace).tick.remote()

    def _owned(self, who: Principal, name: str, version: int) -> VersionRow:
        key = version_key(name, version)
        row = self._store.rows([key])[key]
        if row is None or who.role is not Role.OWNER or row.owner_id != who.id:
            raise NotFound(f"no such version: {name}@{version}")
        found: VersionRow = row
        return found


def announced(event: Any) -> Record | None:
    """The feed's record of an event; None for what concerns the vault alone."""
    match event:
        case ModelAnnounced():
            return Announce(event.name, model=event.model)
        case AliasSet():
            return Announce(event.name, alias=event.alias, version=event.version)
        case PriorPublished():
            return AnnouncePrior(event.prior)
        case _:
            return None


def upload_place(name: str, version: int, file: str) -> str:
    """The name under which an upload is kept, sealed as it came."""
    return f"uploads/{name}/{version}/{file}"


def family_place(digest: str) -> str:
    return f"families/{digest}"


def build_place(key: str) -> str:
    """Where the digest of a family stands by the recipe key of its build."""
    return f"builds/{key}"
