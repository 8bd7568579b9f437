"""What is sealed under which key: chunks for one client, acks, artefacts inside the cluster.

A delivery has one transfer key `tk`, drawn for each sealing attempt. Every chunk has a key of its
own, derived from `tk` and the digest of exactly the bytes encrypted, so the same (key, nonce) never
meets other bytes, and sealing again on resume yields the same ones.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from stillhouse.errors import VerificationFailed
from stillhouse.wire.frame import RECORD_BYTES, Frame, open_all, seal
from stillhouse.wire.identity import ClusterKey, Draw, hpke_seal
from stillhouse.wire.labels import info, labelled

SECRET_BYTES = 32
WRAPPED_BYTES = 80  # HPKE encapsulation, a 32-byte key, tag
MAGIC = b"SHA1"
ARTEFACT = struct.Struct(">4sQ")  # magic, length of the plaintext


# --- chunks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk stands: what binds its records to one client, delivery, attempt and index."""

    client_id: str
    delivery_id: str
    attempt: int
    index: int
    length: int  # of the chunk, without its sealed end
    record_bytes: int = RECORD_BYTES

    def frame(self) -> Frame:
        """The records of the chunk and, sealed behind it, the secret that its ack is made from."""
        whole = self.length + SECRET_BYTES
        place = (self.client_id, self.delivery_id, self.attempt, self.index)
        header = info("stillhouse chunk 1", *place, self.record_bytes, whole)
        return Frame(header, whole, self.record_bytes)


def chunk_key(tk: bytes, place: ChunkPlace, payload_digest: bytes) -> bytes:
    """The key of one chunk; `payload_digest` is SHA-256 of chunk and sealed end."""
    return labelled(
        tk,
        "chunk",
        place.delivery_id,
        place.attempt,
        place.index,
        place.record_bytes,
        payload_digest,
    )


def sealed_chunk(
    tk: bytes, server_key: bytes, place: ChunkPlace, chunk: bytes | memoryview, first: int = 0
) -> tuple[bytes, Iterator[memoryview]]:
    """The payload's digest, which the device needs for the key, and the records from `first` on."""
    payload = bytes(chunk) + secret_end(server_key, place.delivery_id, place.attempt, place.index)
    digest = hashlib.sha256(payload).digest()
    return digest, seal(place.frame(), chunk_key(tk, place, digest), memoryview(payload), first)


# --- acks ----------------------------------------------------------------------------------------


def secret_end(server_key: bytes, delivery_id: str, attempt: int, index: int) -> bytes:
    """What only who opened the sealed end of chunk `index` can know."""
    message = info("sealed end", delivery_id, attempt, index)
    return hmac.digest(server_key, message, "sha256")


def first_ack(manifest_digest: str) -> bytes:
    """What stands before the first ack of a delivery: SHA-256 of the manifest's payload."""
    return bytes.fromhex(manifest_digest)


def ack(tk: bytes, index: int, previous: bytes, secret: bytes) -> bytes:
    """The ack of chunk `index`, chained to the one before."""
    key = labelled(tk, "ack")
    return hmac.digest(key, info("ack", index, previous, secret), "sha256")


def expected_acks(
    tk: bytes, server_key: bytes, delivery_id: str, attempt: int, chunks: int, manifest: str
) -> tuple[str, ...]:
    """All acks of a delivery, hexadecimal, for the shard to compare with."""
    previous, acks = first_ack(manifest), []
    for index in range(chunks):
        secret = secret_end(server_key, delivery_id, attempt, index)
        previous = ack(tk, index, previous, secret)
        acks.append(previous.hex())
    return tuple(acks)


# --- artefacts -----------------------------------------------------------------------------------


def seal_artefact(
    plaintext: bytes | memoryview, cluster_key: bytes, label: str, draw: Draw = os.urandom
) -> bytes:
    """For the cluster's key alone: a key per attempt, wrapped in the artefact's own header."""
    key = draw(32)
    wrapped = hpke_seal(cluster_key, key, info("artefact", label))
    head = ARTEFACT.pack(MAGIC, len(plaintext)) + wrapped
    frame = Frame(head + label.encode(), len(plaintext))
    return b"".join([head, *seal(frame, key, memoryview(plaintext))])


def open_artefact(sealed: bytes | memoryview, cluster_key: ClusterKey, label: str) -> bytes:
    """The plaintext; VerificationFailed if anything differs, the label included."""
    blob = bytes(sealed)
    head = blob[: ARTEFACT.size + WRAPPED_BYTES]
    if len(head) < ARTEFACT.size + WRAPPED_BYTES:
        raise VerificationFailed("an artefact ends in its header")
    magic, length = ARTEFACT.unpack_from(head)
    frame = Frame(head + label.encode(), length)
    if magic != MAGIC or len(blob) != len(head) + frame.wire_length:
        raise VerificationFailed("an artefact is not as long as its header says")
    key = cluster_key.open(head[ARTEFACT.size :], info("artefact", label))
    return open_all(frame, key, blob[len(head) :])
