"""Key derivation: HKDF-SHA256 (RFC 5869) with an empty salt; label and fields length-prefixed.

The prefixes make it impossible that two lists of fields give the same `info`.
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Field = str | int | bytes


def labelled(secret: bytes, label: str, *fields: Field, length: int = 32) -> bytes:
    """A key for one purpose: `length` bytes derived from `secret`, `label` and `fields`."""
    return HKDF(SHA256(), length, salt=None, info=info(label, *fields)).derive(secret)


def info(label: str, *fields: Field) -> bytes:
    """Label and fields as bytes, each behind its length (4 bytes, big-endian)."""
    parts = [label.encode(), *map(as_bytes, fields)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def as_bytes(field: Field) -> bytes:
    if isinstance(field, bytes):
        return field
    return field.to_bytes(8, "big") if isinstance(field, int) else field.encode()
