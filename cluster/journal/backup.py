"""Copies of a state folder: journals, keys, sealed artefacts and archives, while the server runs.

Each journal is copied as of one moment, the shards first and the vault last: a shard's cursor is
then never ahead of the feed. Files come after it, since each is durable before a journal names it.
A copy appears under its name whole or not at all, with a manifest of digests, and holds the
cluster's private keys: it is as secret as the state itself.

Restoring makes a state folder where there is none. The copy's journals take fresh epochs when they
are opened, but that fences nobody who still writes to the folder that was copied: stop that server
first. What was acknowledged after the copy was made is not in it.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import apsw
from pydantic import ValidationError

from cluster.journal.inspection import connect
from cluster.private_files import make_folder, sync_folder, write_file
from stillhouse.entities import Entity
from stillhouse.errors import Conflict, Invalid, JournalUnavailable, NotFound, VerificationFailed

MANIFEST = "manifest.json"
VAULT = "vault.sqlite"
PAGES = 2_000  # of a journal, copied at a time
PIECE = 1 << 20  # bytes of a file, copied at a time
Progress = Callable[[float], None]  # told the share that is done


class CopiedFile(Entity):
    """A file of a copy; its name is relative to the state folder."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(Entity):
    """What a copy consists of."""

    made_at: float
    files: tuple[CopiedFile, ...]


def silent(_: float) -> None:
    """Progress that nobody looks at."""


def back_up(state: Path, folder: Path, now: float, progress: Progress = silent) -> Manifest:
    """Copy the state to `folder`, which must not exist yet; Conflict, NotFound."""
    if not (state / VAULT).exists():
        raise NotFound(f"there is no state in {state}")
    sizes = [path.stat().st_size for path in (*journals(state), *others(state))]
    done = Share(sum(sizes), progress)
    with Partial(folder) as partial:
        for path in journals(state):
            copy_journal(path, partial / path.name, done)
        for path in others(state):
            copy_file(path, partial / path.relative_to(state), done)
        manifest = Manifest(made_at=now, files=tuple(described(partial)))
        write_file(partial / MANIFEST, manifest.model_dump_json(indent=2).encode())
    return manifest


def restore(folder: Path, state: Path, progress: Progress = silent) -> Manifest:
    """Make `state` from a copy, if all its digests are right; Conflict if there is one already."""
    manifest = read_manifest(folder)
    done = Share(sum(file.size_bytes for file in manifest.files), progress)
    with Partial(state) as partial:
        for file in manifest.files:
            if not (folder / file.name).is_file():
                raise VerificationFailed(f"{folder / file.name} is missing: nothing is restored")
            copy_file(folder / file.name, partial / file.name, done)
            if digest(partial / file.name) != file.sha256:
                raise VerificationFailed(f"{folder / file.name} is damaged: nothing is restored")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Of a copy; NotFound if it is none, VerificationFailed if its manifest is damaged."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise NotFound(f"{folder} is no backup: it has no {MANIFEST}") from None
    except ValidationError:
        raise VerificationFailed(f"{folder / MANIFEST} is damaged") from None
    for file in manifest.files:
        if PurePosixPath(file.name).is_absolute() or ".." in PurePosixPath(file.name).parts:
            raise Invalid(f"{folder / MANIFEST} names a file outside: {file.name[:80]!r}")
    return manifest


def journals(state: Path) -> list[Path]:
    """The journals in the order of their copying."""
    shards = sorted(path for path in state.glob("*.sqlite") if path.name != VAULT)
    return [*shards, state / VAULT]


def others(state: Path) -> list[Path]:
    """All other files: keys, artefacts, archives; not those that are being written."""
    inner = (path for path in state.rglob("*") if path.parent != state and path.is_file())
    return sorted(path for path in inner if not path.name.startswith("."))


class Share:
    """How much of all bytes is done."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._done = total or 1, progress, 0

    def add(self, done_bytes: int) -> None:
        self._done += done_bytes
        self._progress(min(1.0, self._done / self._total))


class Partial:
    """A folder under a name of its own until all is in it; then it is `folder`, at once.

    What an attempt that was killed left under the other name goes away with the next one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        if self._folder.exists():
            raise Conflict(f"{self._folder} exists, and nothing is overwritten")
        self._partial = self._folder.with_name(f".{self._folder.name}.partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self._partial, ignore_errors=True)
        make_folder(self._partial)
        return self._partial

    def __exit__(self, failed: object, *_: object) -> None:
        if failed:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        for path in (self._partial, *self._partial.rglob("*")):
            if path.is_dir():
                sync_folder(path)
        self._partial.rename(self._folder)
        sync_folder(self._folder.parent)


def copy_journal(path: Path, to: Path, done: Share) -> None:
    """The journal as of one moment, whoever writes to it meanwhile; JournalUnavailable."""
    to.touch(mode=0o600)
    source, target = connect(path), connect(to)
    try:
        source.execute("BEGIN; SELECT count(*) FROM sqlite_schema").fetchall()  # this moment
        copy_pages(source, target, done)
        found = target.execute("PRAGMA quick_check").fetchall()
    except apsw.Error as error:
        raise JournalUnavailable(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        target.close(force=True)
        source.close(force=True)
    if found != [("ok",)]:
        raise VerificationFailed(f"{path} is damaged: {found[0][0]}")


def copy_pages(source: apsw.Connection, target: apsw.Connection, done: Share) -> None:
    page_bytes = int(str(source.pragma("page_size")))
    with target.backup("main", source, "main") as copying:
        copied = 0
        while not copying.done:
            copying.step(PAGES)
            now = copying.page_count - copying.remaining
            done.add((now - copied) * page_bytes)
            copied = now


def copy_file(path: Path, to: Path, done: Share) -> None:
    """A copy that is durable, 0600, in folders of 0700."""
    make_folder(to.parent)
    target = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with path.open("rb") as source, os.fdopen(target, "wb") as file:
        while piece := source.read(PIECE):
            file.write(piece)
            done.add(len(piece))
        file.flush()
        os.fsync(file.fileno())


def described(folder: Path) -> Iterator[CopiedFile]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        yield CopiedFile(name=name, size_bytes=path.stat().st_size, sha256=digest(path))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
