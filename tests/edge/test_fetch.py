"""A delivery arrives whole however often it is cut or killed, and nothing else is ever kept."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from kills import killed_at_rename
from tiny import ARCHITECTURE, GRID, PRE, family, step, student, updated

from stillhouse.compress.deltas import make_delta
from stillhouse.compress.slices import chunk_layout, weights_chunk
from stillhouse.edge.fetch import PATIENCE, Fetcher
from stillhouse.edge.slots import Disk
from stillhouse.entities import DeltaRecipe, KnowledgeChunk, Role
from stillhouse.errors import NotFound, Unavailable, VerificationFailed
from stillhouse.wire.client import SignedClient
from stillhouse.wire.frame import TAG_BYTES
from stillhouse.wire.identity import Identity
from stillhouse.wire.manifest import (
    ManifestBody,
    ManifestChunk,
    ManifestHeader,
    commitment,
    manifest_digest,
    seal_manifest,
    wrap_transfer_key,
)
from stillhouse.wire.messages import Ack, FetchWork, ModelCard
from stillhouse.wire.seal import ChunkPlace, expected_acks, sealed_chunk

URL = "http://127.0.0.1:8701"
DEVICE = Identity.derive(b"device")
CLIENT = DEVICE.id(Role.CLIENT)
SIGNER, OTHER_SIGNER = (Ed25519PrivateKey.from_private_bytes(byte * 32) for byte in (b"s", b"o"))
TRUSTED = (SIGNER.public_key().public_bytes_raw().hex(),)
TK, SERVER_KEY = b"t" * 32, b"k" * 32
RECORD_BYTES = 64
PAYLOADS = (bytes(range(200)), b"behaviour" * 11, b"x" * (3 * RECORD_BYTES - 32))  # the last: exact
CARD = ModelCard(
    architecture=ARCHITECTURE,
    preprocessing=PRE,
    labels=("slow", "fast"),
    transfer_inputs="e" * 64,
    transfer_input_count=0,
)
CHUNKS = tuple(
    KnowledgeChunk(
        recipe=step(None, student(0.5, 1, 1 + i % 2)),
        digest=hashlib.sha256(payload).hexdigest(),
        length=len(payload),
    )
    for i, payload in enumerate(PAYLOADS)
)
Payloads = tuple[bytes, ...]


class Pieces(httpx2.SyncByteStream):
    """A body in pieces; after `cut` bytes the connection is lost, or the device dies."""

    def __init__(self, body: bytes, cut: int | None, error: BaseException) -> None:
        self._body, self._cut, self._error = body, cut, error

    def __iter__(self) -> Iterator[bytes]:
        whole = self._body[: self._cut]
        for first in range(0, len(whole), 37):
            yield whole[first : first + 37]
        if self._cut is not None and self._cut < len(self._body):
            raise self._error


class Sender(httpx2.BaseTransport):
    """The server of one delivery; `folder` keeps its acks, so that they outlive a killed device."""

    def __init__(self, folder: Path, payloads: Payloads = PAYLOADS, **changes: object) -> None:
        self.folder, self.payloads, self.changes = folder, payloads, changes
        self.envelope = seal_manifest(self.header(), self.body(), TK, SIGNER)
        digest = manifest_digest(self.envelope)
        self.acks = expected_acks(TK, SERVER_KEY, self.id, 1, len(payloads), digest)
        self.cuts: dict[int, list[int]] = {}  # chunk -> where to cut its next connections
        self.error: BaseException = httpx2.ReadError("lost")
        self.tamper: Callable[[bytes], bytes] = bytes
        self.sent: list[tuple[int, int]] = []  # chunk, first record
        folder.mkdir(exist_ok=True)

    @property
    def id(self) -> str:
        return str(self.changes.get("delivery_id", "dlv-1"))

    @property
    def acknowledged(self) -> int:
        return len(list(self.folder.iterdir()))

    def header(self) -> ManifestHeader:
        header = ManifestHeader(
            client_id=CLIENT,
            job_id="job-1",
            profile_id="prf-1",
            delivery_id=self.id,
            attempt=1,
            version=2,
            expires_at=2000.0,
            chunk_urls=(URL,),
            wrapped_key="0" * 160,
            commitment=commitment(TK),
        ).model_copy(update=self.changes)
        place = (header.client_id, header.job_id, header.delivery_id, header.version)
        wrapped = wrap_transfer_key(TK, DEVICE.public.receive, *place)
        return header.model_copy(update={"wrapped_key": wrapped})

    def body(self) -> ManifestBody:
        chunks = [
            ManifestChunk(
                chunk=chunk, payload_digest=sealed(self.id, i, payload)[0].hex(), runs=None
            )
            for i, (chunk, payload) in enumerate(zip(CHUNKS, self.payloads, strict=False))
        ]
        body = ManifestBody(
            profile_revision=1,
            base_version=1,
            plan_digest="f" * 64,
            student=student(0.5, 1, 1),
            card=CARD,
            chunks=tuple(chunks),
            held=(),
            train_after=len(chunks) - 1,
            record_bytes=RECORD_BYTES,
            storage_bytes=1000,
            previous_manifest=None,
        )
        return body.model_copy(update=self.changes)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        *_, kind = request.url.path.split("/")
        if kind == "manifest":
            return httpx2.Response(200, content=self.envelope)
        if kind == "acks":
            return self.acknowledge(Ack.model_validate_json(request.read()))
        first = int(request.url.params.get("from_record", 0))
        return self.chunk(int(kind), first)

    def chunk(self, index: int, first: int) -> httpx2.Response:
        assert index <= self.acknowledged, "a transfer that is not open yet"
        self.sent.append((index, first))
        records = sealed(self.id, index, self.payloads[index], first)[1]
        body = self.tamper(b"".join(records))
        cut = self.cuts[index].pop(0) if self.cuts.get(index) else None
        return httpx2.Response(200, stream=Pieces(body, cut, self.error))

    def acknowledge(self, ack: Ack) -> httpx2.Response:
        assert ack.index <= self.acknowledged, "an ack before its turn"
        assert ack.ack == self.acks[ack.index], "an ack that proves nothing"
        (self.folder / str(ack.index)).touch()
        return httpx2.Response(204)

    def work(self) -> FetchWork:
        return FetchWork(
            job_id="job-1",
            node="r1.transfer.0",
            attempt=1,
            delivery_id=self.id,
            profile_id="prf-1",
            version=2,
            next_chunk=self.acknowledged,
        )


def sealed(id: str, index: int, payload: bytes, first: int = 0) -> tuple[bytes, list[bytes]]:
    place = ChunkPlace(CLIENT, id, 1, index, len(payload), RECORD_BYTES)
    digest, records = sealed_chunk(TK, SERVER_KEY, place, payload, first)
    return digest, [bytes(record) for record in records]


def fetch(sender: Sender, folder: Path, now: float = 1000.0) -> Disk:
    """A device that starts anew on its disk, and does what it is asked."""
    http = SignedClient([URL], DEVICE, transport=sender, pause=lambda _: None)
    http.key_id = f"{CLIENT}/1"
    disk = Disk(folder)
    fetcher = Fetcher(http, DEVICE, disk, TRUSTED, CLIENT, clock=lambda: now, pause=lambda _: None)
    fetcher.fetch(sender.work())
    return disk


def check(disk: Disk, sender: Sender) -> None:
    """Everything is there, everything is acknowledged, nothing is left over."""
    assert [disk.chunk(chunk.digest) for chunk in CHUNKS] == list(PAYLOADS)
    assert disk.acks(sender.id) == list(sender.acks)
    assert sender.acknowledged == len(CHUNKS)
    assert list((disk.root / "partial").iterdir()) == []


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path / "server")


def test_a_delivery_arrives_in_order_and_each_chunk_once(sender: Sender, tmp_path: Path) -> None:
    check(fetch(sender, tmp_path / "device"), sender)
    assert sender.sent == [(0, 0), (1, 0), (2, 0)]


def test_what_is_there_is_neither_fetched_nor_acknowledged_again(
    sender: Sender, tmp_path: Path
) -> None:
    fetch(sender, tmp_path / "device")
    sender.sent.clear()
    check(fetch(sender, tmp_path / "device"), sender)
    assert sender.sent == []


@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_a_cut_at_any_byte_goes_on_from_the_next_record(
    sender: Sender, tmp_path: Path, index: int
) -> None:
    size = RECORD_BYTES + TAG_BYTES
    for cut in range(0, sum(map(len, sealed("dlv-1", index, PAYLOADS[index])[1])), 16):
        server = Sender(tmp_path / f"server{cut}")
        server.cuts = {index: [cut]}
        check(fetch(server, tmp_path / f"device{cut}"), server)
        assert [first for i, first in server.sent if i == index] == [0, cut // size]


@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_a_device_that_dies_at_any_byte_goes_on_from_the_next_record(
    tmp_path: Path, index: int
) -> None:
    size = RECORD_BYTES + TAG_BYTES
    for cut in range(0, sum(map(len, sealed("dlv-1", index, PAYLOADS[index])[1])), 16):
        server, device = Sender(tmp_path / f"server{cut}"), tmp_path / f"device{cut}"
        server.cuts, server.error = {index: [cut]}, KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            fetch(server, device)
        check(fetch(server, device), server)
        assert [first for i, first in server.sent if i == index] == [0, cut // size]


@pytest.mark.parametrize("number", range(1, 2 + 2 * len(CHUNKS)))
def test_a_kill_between_fsync_and_rename_costs_no_byte_twice(
    sender: Sender, tmp_path: Path, number: int
) -> None:
    """Renames: the manifest's record, then for each chunk its place and its acks."""
    device = tmp_path / "device"
    assert killed_at_rename(number, lambda: fetch(sender, device))
    there = sender.acknowledged + len(list((device / "partial").iterdir()))
    assert there == number // 2
    check(fetch(sender, device), sender)
    assert [index for index, _ in sender.sent] == list(range(there, len(CHUNKS)))


def test_there_are_no_other_renames(sender: Sender, tmp_path: Path) -> None:
    assert not killed_at_rename(2 + 2 * len(CHUNKS), lambda: fetch(sender, tmp_path / "device"))


def test_a_torn_record_is_cut_off(sender: Sender, tmp_path: Path) -> None:
    partial = Disk(tmp_path / "device").partial("dlv-1", 0)
    partial.write_bytes(PAYLOADS[0][: RECORD_BYTES + 5])
    check(fetch(sender, tmp_path / "device"), sender)
    assert sender.sent[0] == (0, 1)


def test_a_partial_file_that_rotted_is_fetched_anew(sender: Sender, tmp_path: Path) -> None:
    partial = Disk(tmp_path / "device").partial("dlv-1", 0)
    partial.write_bytes(b"\xff" + PAYLOADS[0][1:RECORD_BYTES])
    with pytest.raises(VerificationFailed, match="chunk 0"):
        fetch(sender, tmp_path / "device")
    check(fetch(sender, tmp_path / "device"), sender)


def test_a_chunk_that_the_disk_lost_is_fetched_again(sender: Sender, tmp_path: Path) -> None:
    disk = fetch(sender, tmp_path / "device")
    (disk.root / "chunks" / CHUNKS[1].digest).unlink()
    sender.sent.clear()
    check(fetch(sender, tmp_path / "device"), sender)
    assert sender.sent == [(1, 0)]


def test_a_device_with_an_empty_disk_catches_up(sender: Sender, tmp_path: Path) -> None:
    fetch(sender, tmp_path / "device")
    check(fetch(sender, tmp_path / "replacement"), sender)


def test_an_ack_that_was_kept_but_not_sent_is_sent_without_the_chunk(
    sender: Sender, tmp_path: Path
) -> None:
    fetch(sender, tmp_path / "device")
    (sender.folder / "2").unlink()
    sender.sent.clear()
    check(fetch(sender, tmp_path / "device"), sender)
    assert sender.sent == []


def test_a_connection_that_brings_nothing_any_more_is_given_up(
    sender: Sender, tmp_path: Path
) -> None:
    sender.cuts = {1: [90, *(2 * PATIENCE * [10])]}
    with pytest.raises(Unavailable, match="chunk 1"):
        fetch(sender, tmp_path / "device")
    assert len(sender.sent) == 1 + 1 + PATIENCE + 1
    sender.cuts = {}
    check(fetch(sender, tmp_path / "device"), sender)


def test_any_byte_flipped_in_a_chunk_is_refused_and_not_kept(tmp_path: Path) -> None:
    length = sum(map(len, sealed("dlv-1", 0, PAYLOADS[0])[1]))
    for place in range(length):
        server, device = Sender(tmp_path / "server"), tmp_path / f"device{place}"
        server.tamper = lambda body, at=place: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(VerificationFailed):
            fetch(server, device)
        kept = Disk(device).partial("dlv-1", 0).read_bytes()
        assert kept == PAYLOADS[0][: place // (RECORD_BYTES + TAG_BYTES) * RECORD_BYTES]
        assert list((device / "chunks").iterdir()) == []
    assert server.acknowledged == 0


def test_data_without_end_is_refused(sender: Sender, tmp_path: Path) -> None:
    sender.tamper = lambda body: body + bytes(100)
    with pytest.raises(VerificationFailed, match="after the last record"):
        fetch(sender, tmp_path / "device")


def test_any_byte_flipped_in_a_manifest_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    sender, device = Sender(tmp_path / "server"), tmp_path / "device"
    whole = sender.envelope
    for place in range(len(whole)):
        sender.envelope = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises(VerificationFailed):
            fetch(sender, device)
    assert files(device) == {}
    assert sender.sent == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_id": "cli-00000000-0000000000000000"}, "another client"),
        ({"expires_at": 999.0}, "expired"),
        ({"job_id": "job-2"}, "another delivery"),
        ({"profile_id": "prf-2"}, "another delivery"),
        ({"storage_bytes": 100}, "storage"),
        ({"commitment": "0" * 64}, "committed"),
    ],
)
def test_a_manifest_for_something_else_is_refused_and_nothing_is_kept(
    tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    sender = Sender(tmp_path / "server", **changes)
    with pytest.raises(VerificationFailed, match=why):
        fetch(sender, tmp_path / "device")
    assert files(tmp_path / "device") == {}


def test_a_manifest_of_an_unknown_key_is_refused(sender: Sender, tmp_path: Path) -> None:
    sender.envelope = seal_manifest(sender.header(), sender.body(), TK, OTHER_SIGNER)
    with pytest.raises(VerificationFailed, match="no trusted key"):
        fetch(sender, tmp_path / "device")
    assert files(tmp_path / "device") == {}


def test_an_older_manifest_is_refused(sender: Sender, tmp_path: Path) -> None:
    fetch(sender, tmp_path / "device")
    before = files(tmp_path / "device")
    older = Sender(tmp_path / "older", version=1, delivery_id="dlv-0")
    with pytest.raises(VerificationFailed, match="older"):
        fetch(older, tmp_path / "device")
    assert files(tmp_path / "device") == before


def test_a_version_has_one_manifest(sender: Sender, tmp_path: Path) -> None:
    fetch(sender, tmp_path / "device")
    before = files(tmp_path / "device")
    second = Sender(tmp_path / "second", plan_digest="0" * 64)
    with pytest.raises(VerificationFailed, match="another manifest of version 2"):
        fetch(second, tmp_path / "device")
    assert files(tmp_path / "device") == before


# --- deltas --------------------------------------------------------------------------------------

OF = step(None, student(0.5, 1, 1))
OLD, NEW = weights_chunk(family(), OF), weights_chunk(updated(), OF)
DELTA = make_delta(OLD, NEW, chunk_layout(ARCHITECTURE, GRID.widths, OF))


def update(folder: Path, **changes: object) -> Sender:
    """A delivery of one delta from OLD to NEW."""
    chunk = KnowledgeChunk(
        recipe=DeltaRecipe(family=family().digest, of=OF),
        digest=digest(DELTA),
        length=len(DELTA),
        base=digest(OLD),
        makes=digest(NEW),
        makes_length=len(NEW),
    ).model_copy(update=changes)
    payload = sealed("dlv-1", 0, DELTA)[0].hex()
    chunks = (ManifestChunk(chunk=chunk, payload_digest=payload, runs=OF.student),)
    return Sender(folder, (DELTA,), chunks=chunks, train_after=0, storage_bytes=100_000)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_delta_leaves_the_chunk_that_it_makes(tmp_path: Path) -> None:
    sender, folder = update(tmp_path / "server"), tmp_path / "device"
    Disk(folder).keep_chunk(digest(OLD), OLD)
    disk = fetch(sender, folder)
    assert disk.chunk(digest(NEW)) == NEW
    assert not disk.has(digest(DELTA))
    assert sender.acknowledged == 1
    fetch(sender, folder)
    assert sender.sent == [(0, 0)]


def test_a_delta_is_not_acknowledged_where_it_makes_something_else(tmp_path: Path) -> None:
    sender, folder = update(tmp_path / "server", makes="a" * 64), tmp_path / "device"
    Disk(folder).keep_chunk(digest(OLD), OLD)
    with pytest.raises(VerificationFailed, match="promised"):
        fetch(sender, folder)
    assert sender.acknowledged == 0
    assert {path.name for path in (folder / "chunks").iterdir()} == {digest(OLD)}


def test_a_delta_of_a_chunk_that_is_not_there_is_not_acknowledged(tmp_path: Path) -> None:
    sender = update(tmp_path / "server")
    with pytest.raises(NotFound):
        fetch(sender, tmp_path / "device")
    assert sender.acknowledged == 0


def test_what_a_delta_makes_must_fit_the_storage(tmp_path: Path) -> None:
    sender, folder = update(tmp_path / "server", makes_length=100_001), tmp_path / "device"
    with pytest.raises(VerificationFailed, match="storage"):
        fetch(sender, folder)
