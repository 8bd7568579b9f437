"""Key pairs: a principal's (Ed25519 signs, X25519 receives), the cluster's, the manifest key's.

Files hold raw private halves with mode 0600; a file that others may read is refused. Enrolment
proves both halves: the keys are signed over, and a challenge is sealed to the receive key.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from stillhouse.entities import Entity, Role
from stillhouse.errors import Invalid, Unauthenticated, VerificationFailed
from stillhouse.ids import principal_id
from stillhouse.wire.labels import labelled

Draw = Callable[[int], bytes]
HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)  # RFC 9180, base mode


class PublicKeys(Entity):
    """The public halves of a principal, hexadecimal."""

    sign: str
    receive: str


class Identity:
    """A principal's key pairs: 32 bytes to sign with, 32 to receive with."""

    def __init__(self, private: bytes) -> None:
        self._private = private
        self._sign = Ed25519PrivateKey.from_private_bytes(private[:32])
        self._receive = X25519PrivateKey.from_private_bytes(private[32:])
        self.public = PublicKeys(
            sign=self._sign.public_key().public_bytes_raw().hex(),
            receive=self._receive.public_key().public_bytes_raw().hex(),
        )

    @classmethod
    def generate(cls, draw: Draw = os.urandom) -> Self:
        return cls(draw(64))

    @classmethod
    def derive(cls, seed: bytes) -> Self:
        """The same keys from the same seed: for reproducible simulations alone."""
        return cls(labelled(seed, "simulated identity", length=64))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(read_private(path))

    def save(self, path: Path) -> None:
        write_private(path, self._private)

    def id(self, role: Role) -> str:
        return principal_id(role, bytes.fromhex(self.public.sign))

    def sign(self, message: bytes) -> bytes:
        return self._sign.sign(message)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The plaintext that was HPKE-sealed to the receive key under the same `info`."""
        return hpke_open(self._receive, sealed, info)


class ClusterKey:
    """The cluster's X25519 pair, which wraps transfer and artefact keys."""

    def __init__(self, private: bytes) -> None:
        self._private = private
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(read_private(path))

    def save(self, path: Path) -> None:
        write_private(path, self._private)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        return hpke_open(self._key, sealed, info)


def hpke_seal(receive_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """HPKE to an X25519 public key: encapsulation and ciphertext, 48 bytes more than before.

    Invalid for a point of low order, to which nothing can be sealed (RFC 9180, 7.1.4).
    """
    try:
        key = X25519PublicKey.from_public_bytes(receive_key)
        return HPKE.encrypt(plaintext, key, info=info)
    except ValueError:
        raise Invalid("the receive key is no usable X25519 public key") from None


def hpke_open(key: X25519PrivateKey, sealed: bytes, info: bytes) -> bytes:
    try:
        return HPKE.decrypt(sealed, key, info=info)
    except (InvalidTag, ValueError):
        raise VerificationFailed("not sealed to this key for this purpose") from None


def verify(sign_key: str, signature: bytes, message: bytes) -> None:
    """Unauthenticated unless the holder of `sign_key` (hexadecimal) signed `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(sign_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Unauthenticated("the signature does not verify") from None


# --- enrolment -----------------------------------------------------------------------------------


def sign_enrolment(identity: Identity, role: Role, token_hash: bytes = b"") -> str:
    """Signature over token hash, role and both public keys, hexadecimal."""
    return identity.sign(enrolment_message(identity.public, role, token_hash)).hex()


def verify_enrolment(keys: PublicKeys, role: Role, signature: str, token_hash: bytes = b"") -> None:
    verify(keys.sign, bytes.fromhex(signature), enrolment_message(keys, role, token_hash))


def enrolment_message(keys: PublicKeys, role: Role, token_hash: bytes) -> bytes:
    return b"\0".join((b"stillhouse enrolment", token_hash, role.encode(), keys.sign.encode(),
                       keys.receive.encode()))  # fmt: skip


def seal_challenge(challenge: bytes, receive_key: str, enrolment_id: str) -> bytes:
    return hpke_seal(bytes.fromhex(receive_key), challenge, f"enrolment {enrolment_id}".encode())


def open_challenge(identity: Identity, sealed: bytes, enrolment_id: str) -> bytes:
    return identity.open(sealed, f"enrolment {enrolment_id}".encode())


# --- files ---------------------------------------------------------------------------------------


def write_private(path: Path, secret: bytes) -> None:
    """Mode 0600 from the first byte on, whole or not at all; the folder is 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)  # what a crash left may have another mode
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_private(path: Path) -> bytes:
    """Refuses a file that group or others may read."""
    if path.stat().st_mode & 0o077:
        raise VerificationFailed(f"{path} must have mode 0600: others can read this key")
    return path.read_bytes()
