"""Row 6 of the attack table: any byte flipped in what is sent is refused, and nothing is kept."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from transfers import CHUNKS, CLUSTER, TARGET, kept

from stillhouse.entities import Role
from stillhouse.errors import AckMismatch, Invalid, Unauthenticated, VerificationFailed
from stillhouse.wire.frame import FrameReader
from stillhouse.wire.identity import Identity, open_challenge, seal_challenge
from stillhouse.wire.labels import info
from stillhouse.wire.signatures import check_body, parse, sign, verify


def flips(data: bytes, bits: tuple[int, ...] = (0x01, 0x20, 0x80)) -> Iterator[bytes]:
    """`data` with one byte changed: every byte, each of `bits`."""
    for index in range(len(data)):
        for bit in bits:
            yield data[:index] + bytes([data[index] ^ bit]) + data[index + 1 :]


def read(reader: FrameReader, wire: bytes) -> bytes:
    return b"".join(reader.feed(wire))


def test_no_flipped_manifest_is_accepted_and_the_device_keeps_nothing_of_it(tmp_path: Path) -> None:
    served = [b""]
    device = TARGET.fetcher(tmp_path, lambda _: served[0])
    before = kept(tmp_path)
    for served[0] in flips(TARGET.row.envelope, (0x01,)):
        with pytest.raises(VerificationFailed):
            device.manifest(TARGET.work)
    assert kept(tmp_path) == before
    served[0] = TARGET.row.envelope
    assert device.manifest(TARGET.work) == TARGET.manifest


@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_no_flipped_record_of_a_chunk_opens(index: int) -> None:
    records = TARGET.records[index]
    for number, record in enumerate(records):
        for wrong in flips(record):
            reader = TARGET.reader(index)
            with pytest.raises(VerificationFailed, match=f"record {number} "):
                read(reader, b"".join([*records[:number], wrong, *records[number + 1 :]]))
            assert reader.next_record == number  # what was opened before it stays, no more


def test_a_device_keeps_and_acknowledges_no_chunk_with_a_flipped_record(tmp_path: Path) -> None:
    acks: list[str] = []
    records = TARGET.records[0]
    wire = bytearray(b"".join(records))

    def answer(request: httpx2.Request) -> bytes:
        if request.url.path.endswith("/acks"):
            acks.append(request.content.decode())
        return TARGET.row.envelope if request.url.path.endswith("/manifest") else bytes(wire)

    device = TARGET.fetcher(tmp_path, answer)
    for index in range(len(records[0])):  # of the first record: no later one comes after it
        wire[index] ^= 1
        with pytest.raises(VerificationFailed):
            device.fetch(TARGET.work)
        wire[index] ^= 1
    assert not acks
    assert not list((tmp_path / "chunks").iterdir())
    assert not any(kept(tmp_path / "partial").values())


def test_no_flipped_ack_opens_the_next_transfer() -> None:
    for index, ack in enumerate(TARGET.row.expected_acks):
        for wrong in flips(bytes.fromhex(ack), (0x01, 0x80)):
            with pytest.raises(AckMismatch):
                TARGET.acknowledge(index, wrong.hex(), acknowledged=index)


def test_no_flipped_wrapped_key_or_challenge_is_opened() -> None:
    context = info("cluster transfer key", TARGET.row.id)
    assert CLUSTER.open(TARGET.row.wrapped_key, context).hex() == TARGET.manifest.transfer_key
    for wrong in flips(TARGET.row.wrapped_key, (0x01,)):
        with pytest.raises(VerificationFailed):
            CLUSTER.open(wrong, context)
    device = TARGET.identity
    for wrong in flips(seal_challenge(b"c" * 32, device.public.receive, "enr-1"), (0x01,)):
        with pytest.raises(VerificationFailed):
            open_challenge(device, wrong, "enr-1")


NONCE = "n0nce-n0nce-n0nce-n0nce"
IDENTITY = Identity.derive(b"a client")
REQUEST = {
    "method": b"PUT",
    "authority": b"127.0.0.1:8700",
    "path": b"/clients/cli-1/edge_model_profile/prf-1",
    "query": b"a=1&b=2",
    "content-type": b"application/json",
    "if-match": b'"1"',
    "idempotency-key": NONCE.encode(),
}
BODY = b'{"cpu_cores": 1}'
LINE = ("method", "authority", "path", "query")


def signed() -> dict[str, bytes]:
    text = {name: value.decode() for name, value in REQUEST.items()}
    added = sign(
        IDENTITY,
        f"{IDENTITY.id(Role.CLIENT)}/1",
        method=text["method"],
        authority=text["authority"],
        path=text["path"],
        query=text["query"],
        headers={name: value for name, value in text.items() if name not in LINE},
        body=BODY,
        nonce=NONCE,
        created=1000,
    )
    return REQUEST | {name: value.encode() for name, value in added.items()}


def check(request: dict[str, bytes], body: bytes = BODY) -> None:
    """As the gate does it, on headers decoded as it decodes them."""
    text = {name: value.decode("latin-1") for name, value in request.items()}
    headers = {name: value for name, value in text.items() if name not in LINE}
    verify(
        parse(headers),
        method=text["method"],
        authority=text["authority"],
        path=text["path"],
        query=text["query"],
        headers=headers,
        public_key=IDENTITY.public.sign,
        now=1000,
        authorities=("127.0.0.1:8700",),
    )
    check_body(headers, body)


@pytest.mark.parametrize("part", [*REQUEST, "content-digest", "signature-input", "signature"])
def test_no_request_with_a_flipped_byte_in_what_is_signed_is_taken(part: str) -> None:
    request = signed()
    check(request)
    for wrong in flips(request[part]):
        with pytest.raises((Unauthenticated, Invalid)):
            check({**request, part: wrong})


def test_no_flipped_body_is_taken() -> None:
    for wrong in (*flips(BODY), BODY[:-1], BODY + b" ", b""):
        with pytest.raises(Unauthenticated):
            check(signed(), wrong)


@pytest.mark.parametrize("name", [name for name in signed() if name not in LINE])
def test_no_request_whose_signed_header_has_another_name_is_taken(name: str) -> None:
    request = signed()
    value = request.pop(name)
    for wrong in flips(name.encode(), (0x01,)):
        with pytest.raises(Unauthenticated):
            check({**request, wrong.decode(): value})
