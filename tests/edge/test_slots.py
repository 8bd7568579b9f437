"""The device's disk: whole files or none, one current student, nothing that rots unseen."""

from pathlib import Path

import pytest
from kills import killed_at_rename

from stillhouse.edge.slots import SLOTS, Accepted, Disk
from stillhouse.errors import NotFound, VerificationFailed
from stillhouse.wire.messages import TrustAnchors

DIGEST = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of b"foo"
ACCEPTED = Accepted(version=3, manifest="a" * 64, delivery_id="dlv", job_id="job")


def install(disk: Disk, student: bytes, reference: str = DIGEST) -> None:
    disk.switch("p", disk.stage("p", student), (reference,))


def test_a_chunk_is_found_by_its_digest(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert not disk.has(DIGEST)
    disk.keep_chunk(DIGEST, b"foo")
    assert Disk(tmp_path).has(DIGEST)
    assert Disk(tmp_path).chunk(DIGEST) == b"foo"


def test_a_chunk_that_rotted_is_not_handed_out(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.keep_chunk(DIGEST, b"foo")
    (tmp_path / "chunks" / DIGEST).write_bytes(b"fo0")
    with pytest.raises(VerificationFailed, match="damaged"):
        disk.chunk(DIGEST)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for missing in (lambda: disk.chunk(DIGEST), lambda: disk.student("p")):
        with pytest.raises(NotFound):
            missing()
    assert disk.accepted("p") is None
    assert disk.anchors() is None
    assert disk.acks("dlv") == []


def test_a_staged_student_is_not_current_before_the_switch(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    install(disk, b"old")
    slot = disk.stage("p", b"new")
    assert Disk(tmp_path).student("p") == b"old"
    disk.switch("p", slot, (DIGEST,))
    assert Disk(tmp_path).student("p") == b"new"


def test_slots_take_turns_so_that_the_current_student_is_never_written_over(tmp_path: Path) -> None:
    disk, used = Disk(tmp_path), []
    for number in range(4):
        used.append(disk.stage("p", str(number).encode()))
        disk.switch("p", used[-1], (DIGEST,))
        assert disk.student("p") == str(number).encode()
    assert used == [*SLOTS, *SLOTS]


def test_profiles_have_slots_of_their_own(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    install(disk, b"one")
    disk.switch("q", disk.stage("q", b"two"), ())
    assert (disk.student("p"), disk.student("q")) == (b"one", b"two")


def test_manifests_acks_and_keys_survive(tmp_path: Path) -> None:
    anchors = TrustAnchors(manifest_keys=("1" * 64,), cluster_key="2" * 64)
    disk = Disk(tmp_path)
    disk.accept("p", ACCEPTED)
    disk.keep_acks("dlv", ["ab", "cd"])
    disk.pin(anchors)
    again = Disk(tmp_path)
    assert again.accepted("p") == ACCEPTED
    assert again.acks("dlv") == ["ab", "cd"]
    assert again.anchors() == anchors


def test_a_kill_before_any_rename_leaves_the_old_student_with_its_reference(tmp_path: Path) -> None:
    old, new, kills = "0" * 64, "1" * 64, 0
    disk = Disk(tmp_path)
    install(disk, b"old", old)
    while killed_at_rename(kills + 1, lambda: install(Disk(tmp_path), b"new", new)):
        kills += 1
        assert (disk.student("p"), disk.reference("p")) == (b"old", (old,))
    assert kills == 2
    assert (disk.student("p"), disk.reference("p")) == (b"new", (new,))


def test_nobody_else_may_read_the_devices_folders(tmp_path: Path) -> None:
    Disk(tmp_path / "device")
    for folder in (tmp_path / "device").iterdir():
        assert folder.stat().st_mode & 0o777 == 0o700
