"""A disk that loses power, tears writes, fails and fills up: a VFS for SQLite over the real files.

A `Disk` notes every write, truncation, sync and deletion in order, over the database, its log and
its rollback journal. What a power cut leaves of them is computed afterwards (`after_cut`): what was
synced is there, the rest as the tear mode says. A name is durable with the first sync of its file,
since SQLite then syncs the folder too. Locks, shared memory and reads are the default VFS's own.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


class Kind(StrEnum):
    """What a disk is told to do."""

    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    DELETE = "delete"


class Tear(StrEnum):
    """What becomes of unsynced writes when the power goes; the last is for disks that also fail."""

    DROPPED = "dropped"  # all are lost
    TORN = "torn"  # all are there but the last, of which the first sectors are
    SHUFFLED = "shuffled"  # some sectors are there, whatever the order they were written in
    FORGOTTEN = "forgotten"  # as DROPPED, and what a sync failed to write, no later one writes


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a disk was told; names have no folder."""

    kind: Kind
    name: str
    offset: int = 0  # of a write; the new length, of a truncation
    data: bytes = b""
    durable: bool = False  # of a deletion: the folder was synced, too
    failed: bool = False


@dataclass(slots=True)
class Fault:
    """From step `at` on, or at that step alone, the disk answers with an error."""

    at: int
    error: type[apsw.Error]  # apsw.IOError, apsw.FullError
    lasting: bool = False
    reads: bool = False  # once met, nothing can be read either
    met: bool = False

    def hits(self, step: int) -> bool:
        hit = step >= self.at if self.lasting else step == self.at
        self.met |= hit
        return hit


class Disk(apsw.VFS):
    """Files through the default VFS, noted; syncs are only noted: the power cut is ours to make."""

    def __init__(self, name: str, default: bool = False) -> None:
        self.base = apsw.vfs_names()[0]  # the default, until this one may become it
        super().__init__(name, self.base, makedefault=default)
        self.steps: list[Step] = []
        self.fault: Fault | None = None

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  SQLite's name
        self.note(Step(Kind.DELETE, Path(filename).name, durable=bool(syncdir)))
        super().xDelete(filename, False)

    def note(self, step: Step) -> None:
        """Keep the step; raises what the fault says for it."""
        number = len(self.steps)
        fails = self.fault is not None and self.fault.hits(number)
        self.steps.append(replace(step, failed=fails))
        if self.fault is not None and fails:
            raise self.fault.error(f"the disk fails at step {number}: {step.kind}")


class DiskFile(apsw.VFSFile):
    """A file of a `Disk`; temporary ones, which have no name, are not noted."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__(disk.base, name, flags)
        self._disk = disk
        given = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(given).name if given else None

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  SQLite's name
        fault = self._disk.fault
        if fault is not None and fault.reads and fault.met:
            raise fault.error("the disk cannot be read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's name
        self._note(Kind.WRITE, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  SQLite's name
        self._note(Kind.TRUNCATE, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802, ARG002  SQLite's names
        self._note(Kind.SYNC)

    def _note(self, kind: Kind, offset: int = 0, data: bytes = b"") -> None:
        if self._name is not None:
            self._disk.note(Step(kind, self._name, offset, data))


# --- what a power cut leaves ---------------------------------------------------------------------


@dataclass(slots=True)
class Held:
    """A file as the disk holds it, and what was told of it since the last sync."""

    content: bytearray | None = None  # None: the name is not there
    unsynced: list[Step] = field(default_factory=list)

    def sync(self) -> None:
        for step in self.unsynced:
            self.content = done(step, self.content)
        self.unsynced.clear()
        self.content = bytearray() if self.content is None else self.content

    def fail(self, step: Step, tear: Tear) -> None:
        """Nothing has changed; but the system may take for written what a sync could not write."""
        if step.kind is Kind.SYNC and tear is Tear.FORGOTTEN:
            self.unsynced.clear()


def after_cut(
    files: Mapping[str, bytes], steps: Sequence[Step], tear: Tear, seed: int = 0
) -> dict[str, bytes]:
    """The files by name after a power cut behind `steps`, which began on `files`, all durable."""
    held = {name: Held(bytearray(content)) for name, content in files.items()}
    for step in steps:
        file = held.setdefault(step.name, Held())
        if step.failed:
            file.fail(step, tear)
        elif step.kind is Kind.SYNC:
            file.sync()
        elif step.durable:
            held[step.name] = Held()
        else:
            file.unsynced.append(step)
    chance = random.Random(seed)
    for file in held.values():
        for step in file.unsynced:
            for part in kept(step, tear, step is steps[-1], chance):
                file.content = done(part, file.content)
    return {name: bytes(f.content) for name, f in held.items() if f.content is not None}


def kept(step: Step, tear: Tear, last: bool, chance: random.Random) -> Iterator[Step]:
    """The parts of an unsynced step that reach the disk."""
    if tear is Tear.TORN:
        sectors = list(parts(step))
        yield from sectors[: len(sectors) // 2] if last else sectors
    elif tear is Tear.SHUFFLED:
        yield from (part for part in parts(step) if chance.random() < 0.5)


def parts(step: Step) -> Iterator[Step]:
    """A write by sectors of the disk; anything else is one part."""
    if step.kind is not Kind.WRITE:
        yield step
        return
    start, end = step.offset, step.offset + len(step.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        data = step.data[start - step.offset : stop - step.offset]
        yield Step(Kind.WRITE, step.name, start, data)
        start = stop


def done(step: Step, content: bytearray | None) -> bytearray | None:
    """The file after a step; what lies between its end and a write behind it is zeros."""
    if step.kind is Kind.DELETE:
        return None
    content = bytearray() if content is None else content
    if step.kind is Kind.TRUNCATE:
        del content[step.offset :]
        return content
    content.extend(bytes(max(0, step.offset - len(content))))
    content[step.offset : step.offset + len(step.data)] = step.data
    return content
