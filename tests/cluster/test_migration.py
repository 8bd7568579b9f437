"""Journals that schema 2 left, brought to the present one: the same story, whole or not at all.

`schema_2/*.sql` were written by the release of that schema: a shard with one job that ended MET,
one cancelled, one in the midst of its transfers and one that waits; a vault with two versions.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from kills import killed_at_rename

from cluster.journal import sqlite
from cluster.journal.archive import archive_events
from cluster.journal.contract import JournalIdentity, StreamEvent
from cluster.journal.inspection import inspect
from cluster.journal.migration import migrate
from cluster.journal.sqlite import SqliteJournal
from cluster.store import Store
from stillhouse import shard, vault
from stillhouse.commands import Acknowledge
from stillhouse.decisions import Answer, Request
from stillhouse.entities import Principal, Role
from stillhouse.errors import Conflict, Invalid
from stillhouse.rows import DistillationJobRow

PRESENT = 3
SHARD = JournalIdentity("local", "shard-0", 2, PRESENT)
VAULT = JournalIdentity("local", "vault", 2, PRESENT)
RULES: dict[str, Any] = {"shard-0": shard, "vault": vault}


def old(folder: Path, publisher: str) -> Path:
    path = folder / f"{publisher}.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute((Path(__file__).parent / "schema_2" / f"{publisher}.sql").read_text())
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.close()
    return path


def select(path: Path, query: str) -> list[Any]:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def migrated(path: Path, identity: JournalIdentity = SHARD, **given: Any) -> Path:
    rules = RULES[identity.publisher]
    return migrate(path, identity, rules, rules.EVENTS, path.parent / "archive", **given)


@pytest.fixture
def shard_path(tmp_path: Path) -> Path:
    return old(tmp_path, "shard-0")


@pytest.fixture
def journal(shard_path: Path) -> Iterator[SqliteJournal]:
    migrated(shard_path)
    journal = SqliteJournal(shard_path, SHARD)
    yield journal
    journal.close()


def old_rows(path: Path, kind: str) -> dict[str, Any]:
    rows = {key: data.partition(b" ") for key, data in select(path, "SELECT key, data FROM rows")}
    return {key: json.loads(body) for key, (name, _, body) in rows.items() if name == kind.encode()}


# --- what becomes of it ---


def test_jobs_are_as_they_were(journal: SqliteJournal, shard_path: Path) -> None:
    before = old_rows(shard_path.with_name("shard-0.sqlite.schema-2.bak"), "DistillationJobRow")
    jobs: dict[str, DistillationJobRow] = Store(RULES["shard-0"], journal).rows(before)
    assert {job.state for job in jobs.values()} == {"ENDED", "CANCELLED", "RUNNING", "ACCEPTED"}
    for id, was in before.items():
        job = jobs[id]
        assert (job.state, job.asked, job.why) == (was["state"], was["asked"], was["why"])
        assert (job.submitted_at, job.deadline) == (was["submitted_at"], was["deadline"])
        assert (len(job.plans), len(job.metrics), job.kept) == (
            len(was["plans"]), len(was["metrics"]), was["kept"],
        )  # fmt: skip
        states = {name: (node["state"], node["attempt"]) for name, node in was["graph"].items()}
        assert {name: (node.state, node.attempt) for name, node in job.graph.items()} == states


def test_events_keep_their_sequences_times_and_streams(
    journal: SqliteJournal, shard_path: Path
) -> None:
    query = "SELECT sequence, at, stream FROM events {} ORDER BY sequence"
    kept = query.format("WHERE CAST(data AS TEXT) NOT LIKE 'ChunkAcknowledged %'")
    moved = {"StudentInstalled"}  # to its job's story
    before = select(shard_path.with_name("shard-0.sqlite.schema-2.bak"), kept)
    after = select(shard_path, query.format(""))
    assert [row[:2] for row in after] == [row[:2] for row in before]
    other = [a[0] for a, b in zip(after, before, strict=True) if a != b]
    found = {shard.EVENTS.decode(event.data) for event in journal.events_after(0, 1000)
             if event.sequence in other}  # fmt: skip
    assert {type(event).__name__ for event in found} == moved


def test_indexes_follow_from_the_events(journal: SqliteJournal, shard_path: Path) -> None:
    bak = shard_path.with_name("shard-0.sqlite.schema-2.bak")
    for query in (
        "SELECT job_id, node, kind, attempt FROM outbox ORDER BY job_id, node",
        "SELECT * FROM due ORDER BY job_id, node",
        "SELECT job_id, model FROM waiting",
        "SELECT job_id, state, verdict, submitted_at FROM listed ORDER BY job_id",
    ):
        assert select(shard_path, query) == select(bak, query)
    assert journal.states() == {"ENDED": 1, "CANCELLED": 1, "RUNNING": 1, "ACCEPTED": 1}


def test_a_repeat_gets_the_answer_of_before_and_the_story_goes_on(journal: SqliteJournal) -> None:
    store = Store(RULES["shard-0"], journal)
    ids = journal.waiting("ankle", "", 9)
    client = Principal(id=store.rows(ids)[ids[0]].client_id, role=Role.CLIENT)
    running = next(
        job for job in store.rows(journal.running_jobs(client.id, 9)).values() if job.deliveries
    )
    acks = [Acknowledge(running.deliveries[-1], index, f"{index:064x}") for index in (1, 1, 2)]
    requests = [Request(f"after-{n}", f"{n}", client, ack) for n, ack in enumerate(acks)]
    assert store.apply(requests, 2000.0).answers == [Answer(204)] * 3
    repeat = Request("key-0-0", "digest-0-0", client, None)
    [answer] = store.apply([repeat], 2000.0).answers
    assert isinstance(answer, Answer)
    assert answer.status == 201


def test_a_vault_keeps_its_feed(tmp_path: Path) -> None:
    path = old(tmp_path, "vault")
    bak = migrated(path, VAULT)
    published = "'ModelAnnounced %' OR CAST(data AS TEXT) LIKE 'AliasSet %'"
    for query in (
        "SELECT sequence, stream, at FROM events ORDER BY sequence",
        "SELECT key, data FROM rows WHERE key LIKE '%/%' ORDER BY key",  # all but people
        "SELECT job_id, node, kind, attempt FROM outbox",
    ):
        assert select(path, query) == select(bak, query) != []
    query = f"SELECT sequence, data FROM events WHERE CAST(data AS TEXT) LIKE {published}"
    journal = SqliteJournal(path, VAULT)
    kept = {each.sequence: each.data for each in journal.events_after(0, 1000)}
    assert all(kept[sequence] == data for sequence, data in select(bak, query))
    journal.close()


def test_older_writers_stay_fenced_and_the_old_journal_is_kept(shard_path: Path) -> None:
    epoch = inspect(shard_path).epoch
    bak = migrated(shard_path)
    assert inspect(shard_path).epoch == epoch == inspect(bak).epoch
    assert inspect(bak).schema_version == 2
    assert {path.name for path in shard_path.parent.iterdir()} == {shard_path.name, bak.name}
    assert shard_path.stat().st_mode & 0o777 == 0o600


def test_it_says_how_far_it_is(shard_path: Path) -> None:
    told: list[float] = []
    migrated(shard_path, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_events_that_were_archived_are_replayed_first(shard_path: Path) -> None:
    query = "SELECT sequence, stream, at, data FROM events ORDER BY sequence"
    events = [StreamEvent(*row) for row in select(shard_path, query)]
    archive_events(events[:25], shard_path.parent / "archive", "shard-0")
    select(shard_path, "DELETE FROM events WHERE sequence <= 20")
    with_archive = migrated(shard_path)
    rows = select(shard_path, "SELECT * FROM rows ORDER BY key")
    assert select(shard_path, "SELECT min(sequence) FROM events") == [(21,)]
    whole = old(shard_path.parent / "archive", "shard-0")
    migrated(whole)
    assert select(whole, "SELECT * FROM rows ORDER BY key") == rows
    assert with_archive.exists()


# --- what cannot be migrated ---


def test_events_that_are_nowhere_are_named(shard_path: Path) -> None:
    select(shard_path, "DELETE FROM events WHERE sequence <= 3")
    with pytest.raises(Invalid, match="events 1 to 3 of shard-0 are missing: put their archive"):
        migrated(shard_path)
    assert inspect(shard_path).schema_version == 2


def test_an_event_that_cannot_be_read_is_named(shard_path: Path) -> None:
    select(shard_path, "UPDATE events SET data = CAST('Unheard {}' AS BLOB) WHERE sequence = 9")
    with pytest.raises(Invalid, match=r"event 9 \(Unheard\) cannot be read"):
        migrated(shard_path)
    assert inspect(shard_path).schema_version == 2


def test_another_schema_or_publisher_is_refused(shard_path: Path) -> None:
    with pytest.raises(Invalid, match="check cluster_id"):
        migrated(shard_path, replace(SHARD, cluster_id="other"))
    migrated(shard_path)
    with pytest.raises(Invalid, match="of schema 3"):
        migrated(shard_path)


def test_who_opens_an_older_journal_is_told_to_migrate_it(shard_path: Path) -> None:
    with pytest.raises(Invalid, match="of schema 2: run `stillhouse state migrate`"):
        SqliteJournal(shard_path, SHARD)


def test_a_journal_that_is_in_use_is_refused(shard_path: Path) -> None:
    server = sqlite.connect(shard_path)
    server.execute("SELECT * FROM journal").fetchall()
    with pytest.raises(Conflict, match="stop the server"):
        migrated(shard_path)
    server.close()
    migrated(shard_path)


# --- killed ---


def whole(path: Path) -> int:
    """The schema of what is under the journal's name, all of it there."""
    found = inspect(path)
    assert found.damage == ()
    assert found.states == {"ENDED": 1, "CANCELLED": 1, "RUNNING": 1, "ACCEPTED": 1}
    return found.schema_version


def test_a_kill_at_the_rename_leaves_the_old_journal(shard_path: Path) -> None:
    assert killed_at_rename(1, lambda: migrated(shard_path))
    assert whole(shard_path) == 2
    migrated(shard_path)
    assert whole(shard_path) == PRESENT


def test_killed_at_any_moment_one_of_the_two_is_whole(tmp_path: Path) -> None:
    began = time.monotonic()
    (tmp_path / "timed").mkdir()
    migrated(old(tmp_path / "timed", "shard-0"))
    lasts_s, found = time.monotonic() - began, set()
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = old(folder, "shard-0")
        killed_after(lasts_s * number / 10, path)
        found.add(whole(path))
        if whole(path) == 2:
            migrated(path)
        assert whole(path) == PRESENT
        SqliteJournal(path, SHARD).close()
    assert 2 in found


def killed_after(seconds: float, path: Path) -> None:
    child = os.fork()
    if child == 0:
        migrated(path)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
