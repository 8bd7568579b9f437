"""Row 7 of the attack table: nothing dropped, doubled, moved, cut, added or taken from elsewhere.

All pairs over 8 chunks x 3 transfers of the same plaintext: across client, job, version and index.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from transfers import CHUNKS, NOW, TARGET, TRANSFERS, TRUSTED, Transfer, kept

from stillhouse.errors import AckMismatch, NotFound, TransferClosed, VerificationFailed
from stillhouse.wire.frame import FrameReader
from stillhouse.wire.manifest import open_manifest
from stillhouse.wire.seal import SECRET_BYTES, ack, first_ack, secret_end

ALL = [(transfer, index) for transfer in TRANSFERS for index in range(len(CHUNKS))]
OTHERS = TRANSFERS[1:]


def opens(reader: FrameReader, wire: bytes) -> bool:
    """Whether a device would take this for the whole chunk."""
    try:
        for _ in reader.feed(wire):
            pass
    except VerificationFailed:
        return False
    return reader.complete


def mangled(records: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """Every order, subset and doubling of the records that isn't the right one."""
    numbers = range(len(records))
    for count in range(len(records) + 2):
        for order in itertools.product(numbers, repeat=count):
            if order != tuple(numbers):
                yield tuple(records[number] for number in order)


def test_every_chunk_of_every_transfer_opens_at_its_own_place() -> None:
    for transfer, index in ALL:
        payload = b"".join(transfer.reader(index).feed(b"".join(transfer.records[index])))
        assert payload[:-SECRET_BYTES] == CHUNKS[index]


def test_no_chunk_opens_at_the_place_of_another() -> None:
    for (here, i), (there, j) in itertools.permutations(ALL, 2):
        assert not opens(here.reader(i), b"".join(there.records[j]))


def test_no_record_of_another_chunk_or_transfer_takes_a_place() -> None:
    for (here, i), (there, j) in itertools.permutations(ALL, 2):
        records = here.records[i]
        for number, foreign in enumerate(there.records[j][: len(records)]):
            wire = b"".join([*records[:number], foreign, *records[number + 1 :]])
            assert not opens(here.reader(i), wire)


@pytest.mark.parametrize("index", [0, 7])  # three and four records
def test_no_other_row_of_a_chunks_records_opens(index: int) -> None:
    records = TARGET.records[index]
    assert opens(TARGET.reader(index), b"".join(records))
    for wrong in mangled(records):
        assert not opens(TARGET.reader(index), b"".join(wrong))


@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_no_chunk_opens_cut_at_any_byte_or_with_a_byte_more(index: int) -> None:
    wire = b"".join(TARGET.records[index])
    for end in range(len(wire)):
        assert not opens(TARGET.reader(index), wire[:end])
    assert not opens(TARGET.reader(index), wire + b"\0")


def test_a_manifest_of_another_client_job_or_version_is_refused_and_not_kept(
    tmp_path: Path,
) -> None:
    for there in OTHERS:
        device = TARGET.fetcher(tmp_path, lambda _, there=there: there.row.envelope)
        with pytest.raises(VerificationFailed):
            device.manifest(TARGET.work)
    assert not kept(tmp_path)


def test_no_manifest_opens_cut_at_any_byte_or_with_anything_added() -> None:
    envelope = TARGET.row.envelope
    cut = (envelope[:end] for end in range(len(envelope)))
    for wrong in (*cut, envelope + b" ", b" " + envelope, envelope * 2, b"[" * 100_000):
        with pytest.raises(VerificationFailed):
            open_manifest(
                wrong,
                TARGET.identity,
                TRUSTED,
                client_id=TARGET.row.client_id,
                now=NOW,
                latest_version=0,
            )


@pytest.mark.parametrize("document", [b"5", b"[]", b"{}", b'{"payload": "", "payloadType": 5, '
                                      b'"signatures": []}', b'{"payload": 5}'])  # fmt: skip
def test_no_json_of_another_shape_is_more_than_a_refusal(document: bytes) -> None:
    with pytest.raises(VerificationFailed):
        open_manifest(
            document,
            TARGET.identity,
            TRUSTED,
            client_id=TARGET.row.client_id,
            now=NOW,
            latest_version=0,
        )


def test_no_ack_of_another_chunk_client_job_or_version_opens_the_next_transfer() -> None:
    for (here, i), (there, j) in itertools.permutations(ALL, 2):
        with pytest.raises(AckMismatch):
            here.acknowledge(i, there.row.expected_acks[j], acknowledged=i)


def test_the_right_ack_out_of_turn_opens_nothing() -> None:
    for done, index in itertools.combinations(range(len(CHUNKS)), 2):
        with pytest.raises(TransferClosed):
            TARGET.acknowledge(index, TARGET.row.expected_acks[index], acknowledged=done)


def test_the_right_ack_once_more_changes_nothing() -> None:
    for index, done in itertools.combinations(range(len(CHUNKS)), 2):
        draft = TARGET.acknowledge(index, TARGET.row.expected_acks[index], acknowledged=done)
        assert not draft.events


def test_an_ack_that_leaves_out_a_chunk_or_guesses_its_sealed_end_is_refused() -> None:
    row, tk = TARGET.row, bytes.fromhex(TARGET.manifest.transfer_key)
    start = first_ack(row.envelope_digest)
    secrets = [secret_end(b"s" * 32, row.id, row.attempt, index) for index in range(2)]
    skipped = ack(tk, 1, start, secrets[1])  # chained to the manifest, not to chunk 0
    guessed = ack(tk, 0, start, bytes(SECRET_BYTES))
    for index, wrong in ((1, skipped), (0, guessed)):
        with pytest.raises(AckMismatch):
            TARGET.acknowledge(index, wrong.hex(), acknowledged=index)


@pytest.mark.parametrize("there", OTHERS, ids=lambda there: there.row.id)
def test_the_records_meet_no_key_and_nonce_twice(there: Transfer) -> None:
    ours, theirs = (set(itertools.chain(*each.records)) for each in (TARGET, there))
    assert not ours & theirs  # the plaintext is the same: the keys cannot be


def test_a_foreign_client_does_not_even_learn_that_the_delivery_exists() -> None:
    stranger = OTHERS[0]
    row = stranger.row
    with pytest.raises(NotFound):
        stranger.acknowledge(0, row.expected_acks[0], 0, by=TARGET.row.client_id)
