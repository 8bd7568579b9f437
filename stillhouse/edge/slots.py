"""The device's disk: chunks by digest, deliveries under way, and two slots for the student.

Every file is written beside its place, flushed, and renamed: a kill leaves the old one or the new
one. A slot becomes current only after the student in it passed its self-test (I8).
"""

import hashlib
import json
import os
from pathlib import Path

from stillhouse.entities import Digest, Entity
from stillhouse.errors import NotFound, VerificationFailed
from stillhouse.wire.messages import TrustAnchors

SLOTS = ("a", "b")


class Accepted(Entity):
    """The newest manifest that was verified for a profile, and whether its report is out."""

    version: int
    manifest: Digest
    delivery_id: str
    job_id: str
    installed: bool = False


class Current(Entity):
    """Which slot holds the current student, and the chunks that it was made from."""

    slot: str
    reference: tuple[Digest, ...]


class Disk:
    """Everything that a device remembers, under one folder of mode 0700."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("chunks", "partial", "deliveries", "slots", "manifests"):
            (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- trust ---

    def anchors(self) -> TrustAnchors | None:
        """The cluster's keys as they were pinned; None before that."""
        path = self.root / "anchors.json"
        return TrustAnchors.model_validate_json(path.read_bytes()) if path.exists() else None

    def pin(self, anchors: TrustAnchors) -> None:
        write(self.root / "anchors.json", anchors.model_dump_json().encode())

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

    def accepted(self, profile_id: str) -> Accepted | None:
        """The newest manifest of a profile: an older one is refused."""
        path = self._manifest(profile_id)
        return Accepted.model_validate_json(path.read_bytes()) if path.exists() else None

    def accept(self, profile_id: str, manifest: Accepted) -> None:
        """Persist what was verified; only ever after its verification."""
        write(self._manifest(profile_id), manifest.model_dump_json().encode())

    # --- slots ---

    def stage(self, profile_id: str, student: bytes) -> str:
        """Write a new student into the slot that is not current; the slot's name."""
        current = self._current(profile_id)
        slot = next(each for each in SLOTS if current is None or each != current.slot)
        write(self._slot(profile_id, slot), student)
        return slot

    def switch(self, profile_id: str, slot: str, reference: tuple[str, ...]) -> None:
        """Make a slot current: only after the self-test of what is in it.

        `reference`: the chunks that the student was made from, as received; they stay beside it.
        """
        current = Current(slot=slot, reference=reference)
        write(self._slot(profile_id, "current"), current.model_dump_json().encode())

    def has_student(self, profile_id: str) -> bool:
        return self._current(profile_id) is not None

    def student(self, profile_id: str) -> bytes:
        """The current student; NotFound before the first."""
        return read(self._slot(profile_id, self._installed(profile_id).slot))

    def reference(self, profile_id: str) -> tuple[str, ...]:
        """Digests of the chunks that the current student was made from."""
        return self._installed(profile_id).reference

    def _manifest(self, profile_id: str) -> Path:
        return self.root / "manifests" / f"{profile_id}.json"

    def _installed(self, profile_id: str) -> Current:
        current = self._current(profile_id)
        if current is None:
            raise NotFound(f"no student is installed for profile {profile_id}")
        return current

    def _current(self, profile_id: str) -> Current | None:
        path = self._slot(profile_id, "current")
        return Current.model_validate_json(path.read_bytes()) if path.exists() else None

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
