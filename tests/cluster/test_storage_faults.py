"""Power cuts at every write and sync, I/O errors and a full disk: nothing lost, nothing doubled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from benchmarks import storage_faults, storage_run
from benchmarks.faulty_vfs import SECTOR, Disk, Fault, Kind, Step, Tear, after_cut
from benchmarks.storage_faults import FAULTS, Result
from benchmarks.storage_run import Recording
from benchmarks.storage_script import CLIENTS, script


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return storage_run.record(tmp_path_factory.mktemp("recording"))


def clean(result: Result) -> bool:
    assert result.stories == []
    return (result.lost, result.corrupt, result.doubled, result.unwell) == (0, 0, 0, 0)


def test_the_story_has_fifty_transitions_and_two_clients() -> None:
    batches = script()
    assert len(batches) > 10
    assert {r.principal.id for b in batches for r in b.requests} >= {who.id for who in CLIENTS}
    assert script() == batches


def test_the_story_meets_every_kind_of_step_in_every_file(recording: Recording) -> None:
    met = {(step.kind, Path(step.name).suffix) for step in recording.steps}
    database, log = ".sqlite", ".sqlite-wal"
    both = {(kind, name) for kind in (Kind.WRITE, Kind.SYNC) for name in (database, log)}
    assert met >= {*both, (Kind.DELETE, log)}
    headers = [each for each in recording.steps if (each.kind, each.offset) == (Kind.WRITE, 0)]
    begun = [each for each in headers if each.name.endswith("-wal")]
    deleted = [each for each in recording.steps if each.kind is Kind.DELETE]
    assert len(begun) > len(deleted)  # once, the log was not deleted but written from its start


def test_a_power_cut_anywhere_loses_nothing_acknowledged(recording: Recording) -> None:
    result = storage_faults.cuts(recording)
    assert clean(result)
    assert result.points == 3 * (len(recording.steps) + 1)


def test_a_journal_whose_making_was_cut_is_there_or_can_be_made() -> None:
    assert clean(storage_faults.cuts_of_initialise())


def test_a_disk_that_fails_or_is_full_is_answered_503_and_nothing_is_lost(
    recording: Recording,
) -> None:
    steps = enumerate(recording.steps)
    points = [at for at, step in steps if step.kind is not Kind.WRITE or at % 7 == 0]
    result = storage_faults.errors(recording, points)
    assert clean(result)
    assert result.points == len(points) * len(FAULTS)


# --- the instrument finds what it is for ---------------------------------------------------------


def test_a_disk_that_only_says_that_it_syncs_is_found_out(recording: Recording) -> None:
    lying = [replace(each, failed=each.kind is Kind.SYNC) for each in recording.steps]
    result = storage_faults.cuts(replace(recording, steps=lying), range(0, len(lying), 40))
    assert result.lost > 0


def test_a_batch_that_is_applied_twice_is_found_out(recording: Recording) -> None:
    """The clients forget their keys, so that what is sent again is something new."""
    batches = [
        replace(each, requests=tuple(replace(r, key=f"other {r.key}") for r in each.requests))
        for each in recording.batches
    ]
    ends = recording.acknowledged[2:]
    assert storage_faults.cuts(replace(recording, batches=batches), ends).doubled > 0


def test_a_page_that_was_written_in_part_is_found_out(recording: Recording) -> None:
    """A database whose page is half old, without the log that would mend it."""
    steps = [each for each in recording.steps if each.name == storage_run.NAME]
    last = max(at for at, each in enumerate(steps) if each.kind is Kind.WRITE)
    torn = replace(recording, steps=steps, acknowledged=[0])
    assert storage_faults.cuts(torn, range(last - 5, last + 1)).corrupt > 0


# --- the disk ------------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk("disk-of-a-test")
    yield disk
    disk.unregister()


def write(offset: int, data: bytes) -> Step:
    return Step(Kind.WRITE, "f", offset, data)


SYNC = Step(Kind.SYNC, "f")


@pytest.mark.parametrize("tear", Tear)
def test_what_was_synced_is_there_after_any_cut(tear: Tear) -> None:
    steps = [write(0, b"a" * 2000), SYNC]
    assert after_cut({}, steps, tear) == {"f": b"a" * 2000}
    assert after_cut({"g": b"old"}, steps, tear)["g"] == b"old"


def test_unsynced_writes_are_dropped_torn_or_shuffled_by_sector() -> None:
    steps = [
        write(0, b"a" * 4 * SECTOR),
        SYNC,
        write(0, b"b" * SECTOR),
        write(0, b"c" * 2 * SECTOR),
    ]
    old, new, newer = b"a" * SECTOR, b"b" * SECTOR, b"c" * SECTOR
    assert after_cut({}, steps, Tear.DROPPED)["f"] == old * 4
    assert after_cut({}, steps[:3], Tear.TORN)["f"] == old * 4  # a single sector is whole or not
    assert after_cut({}, steps, Tear.TORN)["f"] == newer + old * 3
    shuffled = {after_cut({}, steps, Tear.SHUFFLED, seed)["f"] for seed in range(50)}
    assert {content[:SECTOR] for content in shuffled} == {old, new, newer}


def test_a_name_that_was_never_synced_may_be_gone_and_so_may_its_deletion() -> None:
    assert after_cut({}, [write(0, b"a")], Tear.DROPPED) == {}
    deletion = Step(Kind.DELETE, "f")
    assert after_cut({"f": b"a"}, [deletion], Tear.DROPPED) == {"f": b"a"}
    assert after_cut({"f": b"a"}, [replace(deletion, durable=True)], Tear.DROPPED) == {}


def test_what_a_failed_sync_was_to_write_may_be_forgotten_by_the_next() -> None:
    steps = [write(0, b"a"), replace(SYNC, failed=True), write(1, b"b"), SYNC]
    assert after_cut({}, steps, Tear.DROPPED)["f"] == b"ab"
    assert after_cut({}, steps, Tear.FORGOTTEN)["f"] == b"\0b"


def test_a_disk_fails_at_its_step_alone_or_until_it_is_healed(disk: Disk, tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "f"), vfs="disk-of-a-test")
    connection.execute("PRAGMA journal_mode = OFF").fetchall()
    connection.execute("CREATE TABLE t(a)")
    disk.fault = Fault(len(disk.steps), apsw.FullError)
    with pytest.raises(apsw.FullError):
        connection.execute("INSERT INTO t VALUES (1)")
    disk.fault = Fault(len(disk.steps), apsw.IOError, lasting=True)
    for _ in range(2):
        with pytest.raises(apsw.IOError):
            connection.execute("INSERT INTO t VALUES (1)")
    disk.fault = None
    connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
