"""The manifest of a delivery: a signed, sealed letter to one device about the chunks to come.

A DSSE envelope (securesystemslib) over header | sealed body, length-prefixed. The header is in
clear and carries the transfer key, HPKE-wrapped to the device, with a commitment to it (AES-GCM is
not key-committing). The body is sealed under a key derived from it. The envelope is made once and
sent again byte for byte.
"""

import hashlib
import json
from typing import Annotated, Literal, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import Key, SSlibKey

from stillhouse.entities import Bytes, Digest, Entity, KnowledgeChunk, Student
from stillhouse.errors import VerificationFailed
from stillhouse.wire.frame import RECORD_BYTES
from stillhouse.wire.identity import Identity, hpke_seal
from stillhouse.wire.labels import info, labelled
from stillhouse.wire.messages import ModelCard
from stillhouse.wire.seal import ChunkPlace

PAYLOAD_TYPE = "application/vnd.stillhouse.manifest+1"
NONCE = bytes(12)  # the body key seals one body, ever
MAX_CHUNKS = 64
E = TypeVar("E", bound=Entity)


class ManifestHeader(Entity):
    """What stands in clear: to whom, which version, where, and the wrapped transfer key."""

    suite: Literal["X25519-HKDF-SHA256-AES256GCM"] = "X25519-HKDF-SHA256-AES256GCM"
    client_id: str
    job_id: str
    profile_id: str
    delivery_id: str
    attempt: int
    version: int = Field(ge=1, description="monotonic per client and profile")
    expires_at: float = Field(description="seconds since the epoch")
    chunk_urls: tuple[str, ...] = Field(min_length=1)
    wrapped_key: str = Field(
        pattern=r"^[0-9a-f]{160}$", description="HPKE encapsulation and transfer key, hexadecimal"
    )
    commitment: Digest = Field(description="HKDF(transfer key, 'commit')")


class ManifestChunk(Entity):
    """One chunk to come: its digest without, its payload digest with the sealed end."""

    chunk: KnowledgeChunk
    payload_digest: Digest
    runs: Student | None = Field(description="which student can run after it")


class ManifestBody(Entity):
    """What only the device reads."""

    profile_revision: int
    base_version: int = Field(ge=0, description="the version that this one follows")
    plan_digest: Digest
    student: Student
    card: ModelCard
    chunks: Annotated[tuple[ManifestChunk, ...], Field(min_length=1, max_length=MAX_CHUNKS)]
    held: tuple[KnowledgeChunk, ...] = Field(description="needed, and there already: not sent")
    train_after: int = Field(ge=0)
    record_bytes: int = Field(default=RECORD_BYTES, ge=1, le=1 << 24)
    storage_bytes: Bytes = Field(description="the profile's limit, to check before writing")
    previous_manifest: Digest | None


class Manifest(Entity):
    """A verified manifest, with the transfer key that it carried."""

    header: ManifestHeader
    body: ManifestBody
    transfer_key: str = Field(repr=False, description="hexadecimal")
    digest: Digest

    def place(self, index: int) -> ChunkPlace:
        """What binds chunk `index` to this delivery."""
        return ChunkPlace(
            self.header.client_id,
            self.header.delivery_id,
            self.header.attempt,
            index,
            self.body.chunks[index].chunk.length,
            self.body.record_bytes,
        )


def wrap_transfer_key(
    tk: bytes, receive_key: str, client: str, job: str, delivery: str, version: int
) -> str:
    """For the device alone, bound to what it is the key of; hexadecimal."""
    context = info("transfer key", client, job, delivery, version)
    return hpke_seal(bytes.fromhex(receive_key), tk, context).hex()


def commitment(tk: bytes) -> str:
    return labelled(tk, "commit").hex()


def seal_manifest(
    header: ManifestHeader, body: ManifestBody, tk: bytes, signer: Ed25519PrivateKey
) -> bytes:
    """The envelope's bytes. Seals one body under `tk`, ever: the caller stores the result."""
    clear = header.model_dump_json().encode()
    sealed = AESGCM(body_key(tk)).encrypt(NONCE, body.model_dump_json().encode(), clear)
    payload = len(clear).to_bytes(4, "big") + clear + sealed
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(signer))
    return written(envelope)


def open_manifest(
    envelope: bytes,
    identity: Identity,
    manifest_keys: tuple[str, ...],
    *,
    client_id: str,
    now: float,
    latest_version: int,
) -> Manifest:
    """Check signature, addressee, expiry, version, key, commitment, body, in this order.

    `latest_version` is the newest that the device has accepted for this profile: only the same one
    again or a newer one passes. VerificationFailed otherwise; nothing is to be persisted before.
    """
    payload = verified_payload(envelope, manifest_keys)
    clear, sealed = split(payload)
    header = parsed(ManifestHeader, clear)
    if header.client_id != client_id:
        raise VerificationFailed("the manifest is for another client")
    if now >= header.expires_at:
        raise VerificationFailed("the manifest has expired")
    if header.version < latest_version:
        raise VerificationFailed(f"version {header.version} is older than {latest_version}")
    context = info(
        "transfer key", header.client_id, header.job_id, header.delivery_id, header.version
    )
    tk = identity.open(bytes.fromhex(header.wrapped_key), context)
    if commitment(tk) != header.commitment:
        raise VerificationFailed("the transfer key is not the one committed to")
    body = parsed(ManifestBody, opened(body_key(tk), sealed, clear))
    digest = hashlib.sha256(payload).hexdigest()
    return Manifest(header=header, body=body, transfer_key=tk.hex(), digest=digest)


def manifest_digest(envelope: bytes) -> str:
    """SHA-256 of the envelope's payload, hexadecimal; says nothing of the signature."""
    return hashlib.sha256(read_envelope(envelope).payload).hexdigest()


def body_key(tk: bytes) -> bytes:
    return labelled(tk, "manifest")


def verified_payload(envelope: bytes, manifest_keys: tuple[str, ...]) -> bytes:
    keys: list[Key] = [
        SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)))
        for key in manifest_keys
    ]
    found = read_envelope(envelope)
    if found.payload_type != PAYLOAD_TYPE:
        raise VerificationFailed(f"not a manifest but {found.payload_type!r}")
    try:
        found.verify(keys, 1)
    except (VerificationError, ValueError):
        raise VerificationFailed("no trusted key signed this manifest") from None
    payload: bytes = found.payload
    return payload


def read_envelope(envelope: bytes) -> Envelope:
    """An envelope written as ours are, byte for byte: no second spelling of it is read."""
    try:
        found = Envelope.from_dict(json.loads(envelope))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise VerificationFailed("not a DSSE envelope") from None
    if written(found) != envelope:
        raise VerificationFailed("the envelope is not written as it was made")
    return found


def written(envelope: Envelope) -> bytes:
    return json.dumps(envelope.to_dict(), sort_keys=True).encode()


def split(payload: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(payload[:4], "big")
    if len(payload) < end:
        raise VerificationFailed("the manifest ends in its header")
    return payload[4:end], payload[end:]


def opened(key: bytes, sealed: bytes, header: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(NONCE, sealed, header)
    except (InvalidTag, ValueError):
        raise VerificationFailed("the body does not verify") from None


def parsed(kind: type[E], data: bytes) -> E:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise VerificationFailed(f"not a {kind.__name__}: {error.error_count()} errors") from None
