"""Ids: `<kind>-<8 hex digits of the client's hash>-<rest>`, so that a path alone names the shard.

The rest is a hash of what makes the thing unique (an idempotency key, a round), never random here:
the same request always gets the same id. Owners and operators have ids of the same shape.
"""

import hashlib
import re

from stillhouse.errors import NotFound

PATTERN = re.compile(r"^[a-z]{3}-([0-9a-f]{8})-[0-9a-f]{16}$")
KIND_OF_ROLE = {"client": "cli", "owner": "own", "operator": "opr", "auditor": "aud"}


def principal_id(role: str, sign_key: bytes) -> str:
    """The id of whoever holds the Ed25519 key pair with this public half (32 bytes)."""
    digest = hashlib.sha256(sign_key).hexdigest()
    return f"{KIND_OF_ROLE[role]}-{digest[:8]}-{digest[8:24]}"


def derived_id(kind: str, parent: str, *parts: str | int) -> str:
    """A child's id: `kind` is three letters, the client's hash is taken over from `parent`."""
    seed = "\0".join((kind, parent, *map(str, parts)))
    return f"{kind}-{client_hash(parent):08x}-{hashlib.sha256(seed.encode()).hexdigest()[:16]}"


def client_hash(id: str) -> int:
    """The 32 client bits of any id; NotFound if it has none, as for an id that nobody owns."""
    match = PATTERN.match(id)
    if match is None:
        raise NotFound(f"no such id: {id[:80]!r}")
    return int(match.group(1), 16)


def shard_of(id: str, shards: int) -> int:
    """The shard that holds everything of this id's client."""
    return client_hash(id) % shards
