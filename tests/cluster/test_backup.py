"""A copy of a state folder: a journal as of one moment, whole or not at all, over no other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import committing
import pytest
from committing import IDENTITY
from kills import killed_at_rename

from cluster.artefacts import Artefacts
from cluster.journal import sqlite
from cluster.journal.backup import MANIFEST, Manifest, back_up, restore
from cluster.journal.contract import Commit
from cluster.journal.inspection import inspect
from cluster.journal.sqlite import SqliteJournal
from cluster.private_files import write_file
from stillhouse.errors import Conflict, Invalid, JournalUnavailable, NotFound, VerificationFailed

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_000.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two shards with ten commits, a vault, keys, an artefact, an archive."""
    state = tmp_path / "state"
    for name in ("shard-0", "shard-1", "vault"):
        sqlite.initialise(state / f"{name}.sqlite", IDENTITY)
    journal = SqliteJournal(state / "shard-0.sqlite", IDENTITY)
    for number in range(1, 11):
        journal.commit(committing.numbered(number))
    journal.close()
    write_file(state / "keys" / "cluster.key", b"secret")
    Artefacts(state / "artefacts").put("families/abc", bytes(3 << 20))
    write_file(state / "archive" / "shard-0.1-2.parquet", b"events")
    return state


def content(folder: Path) -> dict[str, bytes]:
    """All files but journals, by name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if ".sqlite" not in path.name
    }


def test_what_is_restored_is_what_was_there(state: Path, tmp_path: Path) -> None:
    manifest = back_up(state, tmp_path / "copy", NOW)
    assert restore(tmp_path / "copy", tmp_path / "again") == manifest
    assert content(tmp_path / "again") == content(state)
    journal = SqliteJournal(tmp_path / "again" / "shard-0.sqlite", IDENTITY)
    assert journal.load(["last"]) == {"last": b"10"}
    assert len(journal.events_after(0, 100)) == 20
    journal.commit(committing.numbered(11))
    journal.close()


def test_a_copy_is_as_private_as_the_state(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy", NOW)
    restore(tmp_path / "copy", tmp_path / "again")
    for folder in (tmp_path / "copy", tmp_path / "again"):
        for path in (folder, *folder.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_shards_are_copied_first_and_the_vault_last(state: Path, tmp_path: Path) -> None:
    """What is committed while a shard is copied is not in it; the vault has what it has by then."""
    first = SqliteJournal(state / "shard-0.sqlite", IDENTITY)
    vault = SqliteJournal(state / "vault.sqlite", IDENTITY)
    shares: list[float] = []

    def meanwhile(share: float) -> None:
        if not shares:
            first.commit(Commit(1, rows={"late": b"1"}))
            vault.commit(Commit(1, rows={"late": b"1"}))
        shares.append(share)

    back_up(state, tmp_path / "copy", NOW, meanwhile)
    restore(tmp_path / "copy", tmp_path / "again")
    late = {}
    for name in ("shard-0", "vault"):
        journal = SqliteJournal(tmp_path / "again" / f"{name}.sqlite", IDENTITY)
        late[name] = journal.load(["late"])
        journal.close()
    assert late == {"shard-0": {}, "vault": {"late": b"1"}}
    first.commit(Commit(2, rows={"still": b"mine"}))  # a copy fences nobody
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    first.close()
    vault.close()


def test_a_shard_that_commits_meanwhile_is_copied_as_of_one_commit(
    state: Path, tmp_path: Path
) -> None:
    with committer(state / "shard-0.sqlite") as server:
        assert server.stdout is not None
        acknowledged = int(server.stdout.readline())
        for number in range(3):
            back_up(state, tmp_path / f"copy-{number}", NOW)
        server.kill()
    for number in range(3):
        restore(tmp_path / f"copy-{number}", tmp_path / f"again-{number}")
        journal = SqliteJournal(tmp_path / f"again-{number}" / "shard-0.sqlite", IDENTITY)
        last = int(journal.load(["last"])["last"])
        assert last >= acknowledged
        events = [event.data for event in journal.events_after(0, 1_000_000)]
        assert events == [b"%d" % n for n in range(1, last + 1) for _ in range(2)]
        acknowledged = last
        journal.close()


def committer(path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, str(Path(committing.__file__)), str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)


# --- nothing is overwritten, nothing damaged is restored ---


def test_neither_copy_nor_state_is_overwritten(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy", NOW)
    with pytest.raises(Conflict):
        back_up(state, tmp_path / "copy", NOW)
    for there in (Path(), Path("/"), tmp_path / "copy" / ".."):
        with pytest.raises(Conflict):
            back_up(state, there, NOW)
    with pytest.raises(Conflict):
        restore(tmp_path / "copy", state)
    assert not list(tmp_path.glob(".*"))


def test_only_a_state_is_backed_up_and_only_a_copy_restored(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        back_up(tmp_path / "none", tmp_path / "copy", NOW)
    with pytest.raises(NotFound):
        restore(tmp_path, tmp_path / "state")


@pytest.mark.parametrize("name", ["keys/cluster.key", "shard-1.sqlite", "artefacts/families/abc"])
@pytest.mark.parametrize("damage", ["flipped", "missing", "longer"])
def test_a_damaged_copy_is_not_restored(
    state: Path, tmp_path: Path, name: str, damage: str
) -> None:
    back_up(state, tmp_path / "copy", NOW)
    victim = tmp_path / "copy" / name
    data = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(data + b"x" if damage == "longer" else data[:-1] + b"\x7f")
    with pytest.raises(VerificationFailed, match=victim.name):
        restore(tmp_path / "copy", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["../outside", "/outside", "keys/../../outside"])
def test_a_manifest_that_names_what_lies_outside_is_refused(
    state: Path, tmp_path: Path, name: str
) -> None:
    manifest = back_up(state, tmp_path / "copy", NOW)
    files = (manifest.files[0].model_copy(update={"name": name}),)
    altered = Manifest(made_at=NOW, files=files)
    (tmp_path / "copy" / MANIFEST).write_text(altered.model_dump_json())
    with pytest.raises(Invalid):
        restore(tmp_path / "copy", tmp_path / "again")
    (tmp_path / "copy" / MANIFEST).write_text("{}")
    with pytest.raises(VerificationFailed):
        restore(tmp_path / "copy", tmp_path / "again")


def test_a_damaged_journal_is_not_backed_up(state: Path, tmp_path: Path) -> None:
    with (state / "shard-0.sqlite").open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises((VerificationFailed, JournalUnavailable), match="shard-0"):
        back_up(state, tmp_path / "copy", NOW)
    assert not (tmp_path / "copy").exists()


# --- killed ---


def test_a_copy_that_was_killed_is_not_there_and_the_next_one_is(
    state: Path, tmp_path: Path
) -> None:
    copy, number = tmp_path / "copy", 1
    while killed_at_rename(number, lambda: back_up(state, copy, NOW)):
        assert not copy.exists()
        number += 1
    assert number > 2
    assert restore(copy, tmp_path / "again").files
    assert not list(tmp_path.glob(".*"))


def test_killed_at_any_moment_a_copy_is_whole_or_not_there(state: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    back_up(state, tmp_path / "timed", NOW)
    lasts_s = time.monotonic() - began
    for number in range(10):
        copy = tmp_path / f"copy-{number}"
        child = os.fork()
        if child == 0:
            back_up(state, copy, NOW)
            os._exit(0)
        time.sleep(lasts_s * number / 9)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not copy.exists():
            back_up(state, copy, NOW)
        restore(copy, tmp_path / f"again-{number}")
        assert inspect(tmp_path / f"again-{number}" / "shard-0.sqlite").events == 20
    assert inspect(state / "shard-0.sqlite").damage == ()
