"""The device's disk: chunks by digest, deliveries under way, and two slots for the student.

Every file is written beside its place, flushed, and renamed: a kill leaves the old one or the new
one. A slot becomes current only after the student in it passed its self-test (I8).
"""

import hashlib
import json
import os
from pathlib import Path

from stillhouse.errors import NotFound, VerificationFailed

SLOTS = ("a", "b")


class Disk:
    """Everything that a device remembers, under one folder of mode 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("chunks", "partial", "deliveries", "slots", "manifests"):
            (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- chunks ---

    def has(self, digest: str) -> bool:
        return (self.root / "chunks" / digest).exists()

    def chunk(self, digest: str) -> bytes:
        """The chunk, checked again: a disk may rot."""
        data = read(self.root / "chunks" / digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise VerificationFailed(f"chunk {digest[:8]} on disk is damaged")
        return data

    def keep_chunk(self, digest: str, data: bytes) -> None:
        write(self.root / "chunks" / digest, data)

    def partial(self, delivery_id: str, index: int) -> Path:
        """Where the records of a chunk collect until it is whole."""
        return self.root / "partial" / f"{delivery_id}.{index}"

    # --- deliveries ---

    def acks(self, delivery_id: str) -> list[str]:
        """The acks made so far, in order, hexadecimal."""
        path = self.root / "deliveries" / f"{delivery_id}.json"
        found: list[str] = json.loads(path.read_bytes()) if path.exists() else []
        return found

    def keep_acks(self, delivery_id: str, acks: list[str]) -> None:
        write(self.root / "deliveries" / f"{delivery_id}.json", json.dumps(acks).encode())

    def latest_version(self, profile_id: str) -> int:
        """The newest manifest version accepted for a profile: an older one is refused."""
        path = self.root / "manifests" / f"{profile_id}.json"
        return int(json.loads(path.read_bytes())["version"]) if path.exists() else 0

    def accept(self, profile_id: str, version: int, manifest_digest: str) -> None:
        """Persist that this manifest was verified; only ever after its verification."""
        record = {"version": version, "manifest": manifest_digest}
        write(self.root / "manifests" / f"{profile_id}.json", json.dumps(record).encode())

    # --- slots ---

    def stage(self, profile_id: str, student: bytes) -> str:
        """Write a new student into the slot that is not current; the slot's name."""
        slot = next(each for each in SLOTS if each != self._current(profile_id))
        write(self._slot(profile_id, slot), student)
        return slot

    def switch(self, profile_id: str, slot: str) -> None:
        """Make a slot current: only after the self-test of what is in it."""
        write(self._slot(profile_id, "current"), slot.encode())

    def student(self, profile_id: str) -> bytes:
        """The current student; NotFound before the first."""
        slot = self._current(profile_id)
        if slot is None:
            raise NotFound(f"no student is installed for profile {profile_id}")
        return read(self._slot(profile_id, slot))

    def keep_reference(self, profile_id: str, digests: list[str]) -> None:
        """Which chunks the current student was made from; they stay beside it."""
        write(self._slot(profile_id, "reference"), json.dumps(digests).encode())

    def reference(self, profile_id: str) -> list[str]:
        found: list[str] = json.loads(read(self._slot(profile_id, "reference")))
        return found

    def _current(self, profile_id: str) -> str | None:
        path = self._slot(profile_id, "current")
        return path.read_text() if path.exists() else None

    def _slot(self, profile_id: str, name: str) -> Path:
        return self.root / "slots" / f"{profile_id}.{name}"


def read(path: Path) -> bytes:
    if not path.exists():
        raise NotFound(f"{path.name} is not on this device")
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    """Whole or not at all, and durable when it returns."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
