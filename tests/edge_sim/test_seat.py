"""What a killed device must still know, and which nonces it may use again."""

from collections.abc import Iterator
from pathlib import Path

import httpx2

from edge_sim.seat import DeviceClient, Memory, Nonces, Received, remembered
from stillhouse.wire.identity import Identity

URL = "http://127.0.0.1:8701"


class Server(httpx2.BaseTransport):
    """Answers every request with the same bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Body(self._body))


class Body(httpx2.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield from [self._body] if self._body else []


def fetch(received: Received, path: str, body: bytes) -> None:
    nonces = Nonces(0, "watch", 1)
    identity = Identity.derive(b"device")
    first = DeviceClient([URL], identity, received, nonce=nonces, transport=Server(body))
    client = first.twin()  # the second thread's counts into the same file
    with client.stream(URL, path, "") as parts:
        assert b"".join(parts) == body
    client.close()


def drawn(nonces: Nonces, count: int) -> list[str]:
    return [nonces() for _ in range(count)]


def test_the_same_seed_gives_the_same_nonces_and_another_device_others() -> None:
    first = drawn(Nonces(0, "watch", 1), 5)
    assert first == drawn(Nonces(0, "watch", 1), 5)
    assert len(set(first)) == 5
    assert not set(first) & set(drawn(Nonces(0, "phone", 1), 5))
    assert not set(first) & set(drawn(Nonces(1, "watch", 1), 5))


def test_a_restarted_device_uses_no_nonce_for_another_command() -> None:
    assert not set(drawn(Nonces(0, "watch", 1), 50)) & set(drawn(Nonces(0, "watch", 2), 50))


def test_what_is_said_once_has_one_nonce_whenever_it_is_said() -> None:
    early, late = Nonces(0, "watch", 1), Nonces(0, "watch", 2)
    drawn(late, 7)
    for nonces in (early, late):
        nonces.next_is_for("job")
    assert early() == late()
    early.next_is_for("profile")
    assert len({*drawn(early, 3), *drawn(late, 3)}) == 6


def test_a_first_start_remembers_nothing_and_each_start_counts(tmp_path: Path) -> None:
    file = tmp_path / "seat.json"
    first = remembered(file)
    assert first == Memory(starts=1)
    file.write_text(first.model_copy(update={"job_id": "job", "wire_bytes": 9}).model_dump_json())
    assert remembered(file) == Memory(starts=2, job_id="job", wire_bytes=9)


def test_only_a_chunk_that_came_before_counts_as_sent_again(tmp_path: Path) -> None:
    received = Received(tmp_path / "received")
    assert received.again() == 0
    for chunk in ("a/0", "a/1", "b/0"):
        received.note(chunk)
    assert received.again() == 0
    Received(tmp_path / "received").note("a/1")
    assert received.again() == 1


def test_a_connection_counts_once_it_brought_bytes(tmp_path: Path) -> None:
    received = Received(tmp_path / "received")
    fetch(received, "/deliveries/a/chunks/0", b"")
    fetch(received, "/deliveries/a/chunks/0", b"records")
    fetch(received, "/deliveries/a/chunks/1", b"records")
    assert received.again() == 0
    fetch(received, "/deliveries/a/chunks/0", b"records")
    assert received.again() == 1
