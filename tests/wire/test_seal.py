"""Keys, acks and artefacts: one purpose each, and nothing without the sealed end."""

import hashlib
import itertools

import pytest

from stillhouse.errors import VerificationFailed
from stillhouse.wire.frame import open_all
from stillhouse.wire.identity import ClusterKey
from stillhouse.wire.labels import info, labelled
from stillhouse.wire.seal import (
    SECRET_BYTES,
    ChunkPlace,
    ack,
    chunk_key,
    expected_acks,
    first_ack,
    open_artefact,
    seal_artefact,
    sealed_chunk,
    secret_end,
)

TK, SERVER = b"t" * 32, b"s" * 32
DIGEST = hashlib.sha256(b"manifest").hexdigest()
CLUSTER = ClusterKey(b"c" * 32)


def place(**changes: object) -> ChunkPlace:
    fields = {
        "client_id": "cli",
        "delivery_id": "dlv",
        "attempt": 1,
        "index": 0,
        "length": 5,
        "record_bytes": 16,
    }
    return ChunkPlace(**{**fields, **changes})  # type: ignore[arg-type]


def test_length_prefixes_keep_lists_of_fields_apart() -> None:
    assert info("a", "bc", "d") != info("a", "b", "cd")
    assert labelled(TK, "chunk", "1") != labelled(TK, "ack", "1")


def test_a_chunk_opens_with_the_key_of_its_place_and_payload_alone() -> None:
    digest, records = sealed_chunk(TK, SERVER, place(), b"chunk")
    wire = b"".join(records)
    payload = open_all(place().frame(), chunk_key(TK, place(), digest), wire)
    assert payload[:-SECRET_BYTES] == b"chunk"
    assert payload[-SECRET_BYTES:] == secret_end(SERVER, "dlv", 1, 0)


@pytest.mark.parametrize(
    "change", [{"client_id": "clx"}, {"delivery_id": "dlx"}, {"attempt": 2}, {"index": 1}]
)
def test_a_chunk_spliced_to_another_place_does_not_open(change: dict[str, object]) -> None:
    digest, records = sealed_chunk(TK, SERVER, place(), b"chunk")
    other = place(**change)
    with pytest.raises(VerificationFailed):
        open_all(other.frame(), chunk_key(TK, other, digest), b"".join(records))


def test_no_two_plaintexts_meet_the_same_key() -> None:
    keys = {
        chunk_key(TK, place(index=i, attempt=a), sealed_chunk(TK, SERVER, p, data)[0])
        for a, i in itertools.product((1, 2), range(4))
        for p in [place(index=i, attempt=a)]
        for data in (b"chunk", b"other")
    }
    assert len(keys) == 16


def test_acks_chain_and_need_every_sealed_end() -> None:
    expected = expected_acks(TK, SERVER, "dlv", 1, 3, DIGEST)
    previous = first_ack(DIGEST)
    for index, wanted in enumerate(expected):
        previous = ack(TK, index, previous, secret_end(SERVER, "dlv", 1, index))
        assert previous.hex() == wanted
    assert len(set(expected)) == 3


def test_an_ack_without_the_sealed_end_or_of_another_chunk_is_another_ack() -> None:
    expected = expected_acks(TK, SERVER, "dlv", 1, 2, DIGEST)
    guesses = {
        ack(TK, 0, first_ack(DIGEST), bytes(32)).hex(),
        ack(TK, 1, first_ack(DIGEST), secret_end(SERVER, "dlv", 1, 0)).hex(),
        ack(bytes(32), 0, first_ack(DIGEST), secret_end(SERVER, "dlv", 1, 0)).hex(),
        *expected_acks(TK, SERVER, "dlv", 2, 2, DIGEST),
        *expected_acks(TK, SERVER, "dlv", 1, 2, "00" * 32),
    }
    assert not guesses & set(expected)


def test_an_artefact_opens_with_the_clusters_key_under_its_label() -> None:
    sealed = seal_artefact(b"weights" * 1000, CLUSTER.public, "upload/wrist/weights")
    assert b"weights" not in sealed
    assert open_artefact(sealed, CLUSTER, "upload/wrist/weights") == b"weights" * 1000
    with pytest.raises(VerificationFailed):
        open_artefact(sealed, CLUSTER, "upload/wrist/training")
    with pytest.raises(VerificationFailed):
        open_artefact(sealed, ClusterKey(b"d" * 32), "upload/wrist/weights")


def test_every_flipped_or_missing_byte_of_an_artefact_is_refused() -> None:
    sealed = seal_artefact(b"weights", CLUSTER.public, "label")
    for index in range(len(sealed)):
        flipped = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
        for wrong in (flipped, sealed[:index]):
            with pytest.raises(VerificationFailed):
                open_artefact(wrong, CLUSTER, "label")


def test_two_attempts_never_seal_under_the_same_key() -> None:
    one, two = (seal_artefact(b"weights", CLUSTER.public, "label") for _ in range(2))
    assert one != two
