"""Which public key is in force under a keyid: asked of the shard or the vault, kept for seconds.

Short enough that a revoked key is refused within five seconds everywhere.
"""

import time

from actors.patience import call
from actors.settings import VAULT, ActorSettings
from stillhouse.entities import Principal
from stillhouse.ids import shard_of
from stillhouse.rows import PrincipalRow

KEEP_S = 4.0
KEEP = 10_000  # answers


class Keyring:
    """One a process that verifies signatures."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[float, tuple[Principal, str] | None]] = {}

    async def find(self, key_id: str) -> tuple[Principal, str] | None:
        """The principal and its Ed25519 public key, hexadecimal; None if none such is in force."""
        at, found = self._known.get(key_id, (0.0, None))
        if time.monotonic() - at > KEEP_S:
            found = await self._ask(key_id)
            if len(self._known) >= KEEP:
                self._known.clear()
            self._known[key_id] = (time.monotonic(), found)
        return found

    async def _ask(self, key_id: str) -> tuple[Principal, str] | None:
        id, _, number = key_id.partition("/")
        row = (await call(self._settings.namespace, self._home(id), "rows", [id]))[id]
        if not isinstance(row, PrincipalRow):  # an enrolment's id is no key's
            return None
        keys = {str(pair.number): pair.sign for pair in row.keys}
        return (Principal(id=row.id, role=row.role), keys[number]) if number in keys else None

    def _home(self, id: str) -> str:
        client = id.startswith("cli-")
        return self._settings.manager(shard_of(id, self._settings.shards)) if client else VAULT
