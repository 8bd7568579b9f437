"""The manifest: for one device, one version, whole and signed, or nothing of it is believed."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stillhouse.entities import (
    ArchitectureSpec,
    KnowledgeChunk,
    Preprocessing,
    Role,
    Student,
    WeightsRecipe,
)
from stillhouse.errors import VerificationFailed
from stillhouse.wire.identity import Identity
from stillhouse.wire.manifest import (
    Manifest,
    ManifestBody,
    ManifestChunk,
    ManifestHeader,
    commitment,
    manifest_digest,
    open_manifest,
    seal_manifest,
    wrap_transfer_key,
)
from stillhouse.wire.messages import ModelCard

DEVICE = Identity.derive(b"device")
CLIENT = DEVICE.id(Role.CLIENT)
SIGNER = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
TRUSTED = (SIGNER.public_key().public_bytes_raw().hex(),)
TK = b"k" * 32
STUDENT = Student(width=0.25, depths=(1, 1), bits=4)


def header(**changes: Any) -> ManifestHeader:
    fields = {
        "client_id": CLIENT,
        "job_id": "job",
        "profile_id": "prf",
        "delivery_id": "dlv",
        "attempt": 1,
        "version": 3,
        "expires_at": 2000.0,
        "chunk_urls": ("http://127.0.0.1:8701",),
        "wrapped_key": wrap_transfer_key(TK, DEVICE.public.receive, CLIENT, "job", "dlv", 3),
        "commitment": commitment(TK),
    }
    return ManifestHeader(**{**fields, **changes})


def body() -> ManifestBody:
    chunk = KnowledgeChunk(
        recipe=WeightsRecipe(base=None, student=STUDENT), digest="a" * 64, length=100
    )
    return ManifestBody(
        profile_revision=1,
        base_version=2,
        plan_digest="b" * 64,
        student=STUDENT,
        card=ModelCard(
            architecture=ArchitectureSpec(id="resnet1d"),
            preprocessing=Preprocessing(window=4, step=2, mean=(0.0,), deviation=(1.0,)),
            labels=("up", "down"),
            transfer_inputs="c" * 64,
            transfer_input_count=0,
        ),
        chunks=(ManifestChunk(chunk=chunk, payload_digest="d" * 64, runs=STUDENT),),
        held=(),
        train_after=0,
        storage_bytes=1000,
        previous_manifest=None,
    )


def envelope(**changes: Any) -> bytes:
    return seal_manifest(header(**changes), body(), TK, SIGNER)


def opened(data: bytes, **changes: Any) -> Manifest:
    wanted: dict[str, Any] = {"client_id": CLIENT, "now": 1000.0, "latest_version": 0}
    identity = changes.pop("identity", DEVICE)
    trusted = changes.pop("trusted", TRUSTED)
    return open_manifest(data, identity, trusted, **{**wanted, **changes})


def test_the_device_reads_what_was_sealed_and_knows_its_digest() -> None:
    data = envelope()
    manifest = opened(data)
    assert (manifest.header, manifest.body) == (header_of(data), body())
    assert bytes.fromhex(manifest.transfer_key) == TK
    assert manifest.digest == manifest_digest(data)
    assert TK.hex() not in repr(manifest)


def header_of(data: bytes) -> ManifestHeader:
    return opened(data).header


def test_nothing_of_the_body_stands_in_clear() -> None:
    data = json.loads(envelope())["payload"]
    import base64

    assert b"a" * 64 not in base64.b64decode(data)


def test_another_signer_device_or_addressee_is_refused() -> None:
    data = envelope()
    stranger = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
    with pytest.raises(VerificationFailed, match="no trusted key"):
        opened(seal_manifest(header(), body(), TK, stranger))
    with pytest.raises(VerificationFailed, match="no trusted key"):
        opened(data, trusted=())
    with pytest.raises(VerificationFailed, match="another client"):
        opened(data, client_id="cli-00000000-0000000000000000")
    with pytest.raises(VerificationFailed, match="not sealed to this key"):
        opened(data, identity=Identity.derive(b"another device"))


def test_an_expired_or_older_manifest_is_refused_and_the_same_one_again_is_not() -> None:
    data = envelope()
    with pytest.raises(VerificationFailed, match="expired"):
        opened(data, now=2000.0)
    with pytest.raises(VerificationFailed, match="older"):
        opened(data, latest_version=4)
    assert opened(data, latest_version=3).header.version == 3


@pytest.mark.parametrize("change", [{"delivery_id": "dlx"}, {"version": 4}, {"job_id": "jox"}])
def test_a_transfer_key_wrapped_for_another_delivery_does_not_open(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed, match="not sealed to this key"):
        opened(envelope(**change))


def test_a_key_other_than_the_one_committed_to_is_refused() -> None:
    with pytest.raises(VerificationFailed, match="committed"):
        opened(envelope(commitment=commitment(b"z" * 32)))


def test_every_flipped_byte_of_the_envelope_is_refused_or_changes_nothing() -> None:
    data = envelope()
    whole = opened(data)
    for index in range(0, len(data)):
        wrong = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
        try:
            assert opened(wrong) == whole  # base64 has bits that decode to nothing
        except VerificationFailed:
            continue
