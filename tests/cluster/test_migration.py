"""Journals of earlier schemas, brought to the present one: the same story, whole or not at all.

`schema_N/*.sql` were written by the release of that schema: a shard with one job that ended MET,
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

from cluster.journal import schema_3, sqlite, tables
from cluster.journal.archive import archive_events
from cluster.journal.contract import SCHEMA, JournalIdentity, StreamEvent
from cluster.journal.inspection import inspect
from cluster.journal.migration import EARLIER, migrate
from cluster.journal.sqlite import SqliteJournal
from cluster.store import Store
from stillhouse import shard, vault
from stillhouse.commands import Acknowledge
from stillhouse.decisions import Answer, Request
from stillhouse.entities import TRAINABLE, FamilyTable, Principal, Role
from stillhouse.errors import Conflict, Invalid
from stillhouse.rows import DistillationJobRow
from stillhouse.versions import VersionRow, VersionState

SHARD = JournalIdentity("local", "shard-0", 2)
VAULT = JournalIdentity("local", "vault", 2)
RULES: dict[str, Any] = {"shard-0": shard, "vault": vault}


def old(folder: Path, publisher: str, schema: int) -> Path:
    path, dump = folder / f"{publisher}.sqlite", f"schema_{schema}/{publisher}.sql"
    connection = apsw.Connection(str(path))
    connection.execute((Path(__file__).parent / dump).read_text())
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


@pytest.fixture(params=EARLIER)
def schema(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def shard_path(tmp_path: Path, schema: int) -> Path:
    return old(tmp_path, "shard-0", schema)


@pytest.fixture
def journal(shard_path: Path) -> Iterator[SqliteJournal]:
    migrated(shard_path)
    journal = SqliteJournal(shard_path, SHARD)
    yield journal
    journal.close()


def kept_at(path: Path) -> Path:
    """Where the old journal is now."""
    [bak] = path.parent.glob(f"{path.name}.schema-*.bak")
    return bak


def events_of(path: Path) -> list[StreamEvent]:
    """The events of a journal of any schema, one by one."""
    connection = apsw.Connection(str(path))
    try:
        [(schema,)] = connection.execute("SELECT schema FROM journal").fetchall()
        return list(EARLIER.get(schema, schema_3.events)(connection))
    finally:
        connection.close()


def body(data: bytes) -> Any:
    return json.loads(data.partition(b" ")[2])


def carries(now: Any, was: Any) -> bool:
    """Whether all that was said is said still; more may be, in fields that were not there."""
    if isinstance(was, dict):
        return all(key in now and carries(now[key], value) for key, value in was.items())
    if isinstance(was, list):
        return len(now) == len(was) and all(map(carries, now, was))
    return bool(now == was)


def state_of(node: Any) -> tuple[str, int]:
    """State and attempt of a job's node: an object in schema 2, a list since."""
    return (node["state"], node["attempt"]) if isinstance(node, dict) else (node[3], node[6])


def name_of(event: StreamEvent) -> str:
    return event.data.partition(b" ")[0].decode()


def old_rows(path: Path, kind: str) -> dict[str, Any]:
    rows = {key: data.partition(b" ") for key, data in select(path, "SELECT key, data FROM rows")}
    return {key: json.loads(body) for key, (name, _, body) in rows.items() if name == kind.encode()}


# --- what becomes of it ---


def test_jobs_are_as_they_were(journal: SqliteJournal, shard_path: Path) -> None:
    before = old_rows(kept_at(shard_path), "DistillationJobRow")
    jobs: dict[str, DistillationJobRow] = Store(RULES["shard-0"], journal).rows(before)
    assert {job.state for job in jobs.values()} == {"ENDED", "CANCELLED", "RUNNING", "ACCEPTED"}
    for id, was in before.items():
        job = jobs[id]
        assert (job.state, job.asked, job.why) == (was["state"], was["asked"], was["why"])
        assert (job.submitted_at, job.deadline) == (was["submitted_at"], was["deadline"])
        assert (len(job.plans), len(job.metrics), job.kept) == (
            len(was["plans"]), len(was["metrics"]), was["kept"],
        )  # fmt: skip
        states = {name: state_of(node) for name, node in was["graph"].items()}
        assert {name: (node.state, node.attempt) for name, node in job.graph.items()} == states


def test_events_keep_their_sequences_times_and_streams(
    journal: SqliteJournal, shard_path: Path, schema: int
) -> None:
    every = events_of(kept_at(shard_path))
    before = [event for event in every if name_of(event) != "ChunkAcknowledged"]
    after = events_of(shard_path)
    assert [(e.sequence, e.at, name_of(e)) for e in after] == [
        (e.sequence, e.at, name_of(e)) for e in before
    ]
    moved = {name_of(a) for a, b in zip(after, before, strict=True) if a.stream != b.stream}
    assert moved == ({"StudentInstalled"} if schema == 2 else set())  # to its job's story
    read = journal.events_after(0, 1000)
    assert [(e.sequence, e.data) for e in read] == [(e.sequence, e.data) for e in after]
    assert all(shard.encode_event(shard.EVENTS.decode(event.data)) == event.data for event in read)


def test_events_that_follow_one_another_in_one_story_are_one_row(
    journal: SqliteJournal, shard_path: Path
) -> None:
    [(rows, events)] = select(shard_path, "SELECT count(*), sum(events) FROM events")
    assert rows < events / 2
    assert events == len(events_of(shard_path))


def test_indexes_follow_from_the_events(journal: SqliteJournal, shard_path: Path) -> None:
    bak = kept_at(shard_path)
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


@pytest.fixture
def vault_path(tmp_path: Path, schema: int) -> Path:
    path = old(tmp_path, "vault", schema)
    migrated(path, VAULT)
    return path


def test_a_vault_keeps_its_feed_and_its_versions(vault_path: Path) -> None:
    bak, query = kept_at(vault_path), "SELECT job_id, node, kind, attempt FROM outbox"
    assert select(vault_path, query) == select(bak, query) != []
    before, after = events_of(bak), events_of(vault_path)
    assert [each[:3] for each in after] == [each[:3] for each in before]
    feed = {"ModelAnnounced", "AliasSet"}
    assert feed <= {name_of(each) for each in before}
    for now, was in zip(after, before, strict=True):
        assert name_of(now) == name_of(was)
        assert name_of(was) not in feed or carries(body(now.data), body(was.data))
    for kind in ("EnrolmentRow", "NameRow", "VersionRow"):
        was_rows, rows = old_rows(bak, kind), old_rows(vault_path, kind)
        assert rows.keys() == was_rows.keys() != set()
        assert all(carries(rows[key], was) for key, was in was_rows.items())


def test_a_family_keeps_its_table_in_todays_words(vault_path: Path, schema: int) -> None:
    key = vault.table_key("b" * 64)
    was = old_rows(kept_at(vault_path), "TableRow")[key]["table"]
    journal = SqliteJournal(vault_path, VAULT)
    store = Store(RULES["vault"], journal)
    table: FamilyTable = store.rows([key])[key].table
    version: VersionRow = store.rows(["version/wrist@1"])["version/wrist@1"]
    journal.close()
    assert version.state is VersionState.AVAILABLE
    assert (table.outputs, table.embeds) == (was["classes"], False)
    assert len(table.rows) == len(was["rows"]) == {2: 0, 3: 2}[schema]
    for row, fields in zip(table.rows, was["rows"], strict=True):
        assert row.training_memory_bytes == (fields["training_memory_bytes"],) * len(TRAINABLE)
        assert (row.accuracy, row.wire_bytes) == (fields["accuracy"], fields["wire_bytes"])
    assert carries(table.model_dump(mode="json")["probes"], was["probes"])


def test_older_writers_stay_fenced_and_the_old_journal_is_kept(
    shard_path: Path, schema: int
) -> None:
    epoch = inspect(shard_path).epoch
    bak = migrated(shard_path)
    assert inspect(shard_path).epoch == epoch == inspect(bak).epoch
    assert bak.name == f"{shard_path.name}.schema-{schema}.bak"
    assert inspect(bak).schema_version == schema
    assert {path.name for path in shard_path.parent.iterdir()} == {shard_path.name, bak.name}
    assert shard_path.stat().st_mode & 0o777 == 0o600


def test_it_says_how_far_it_is(shard_path: Path) -> None:
    told: list[float] = []
    migrated(shard_path, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_events_that_were_archived_are_replayed_first(shard_path: Path, schema: int) -> None:
    first = select(shard_path, "SELECT sequence FROM events ORDER BY sequence")[15][0]
    events = events_of(shard_path)
    archive_events(
        events[: first + 4], shard_path.parent / "archive", "shard-0"
    )  # some are in both
    select(shard_path, f"DELETE FROM events WHERE sequence < {first}")
    with_archive = migrated(shard_path)
    rows = select(shard_path, "SELECT * FROM rows ORDER BY key")
    assert select(shard_path, "SELECT min(sequence) FROM events") == [(first,)]
    whole = old(shard_path.parent / "archive", "shard-0", schema)
    migrated(whole)
    assert select(whole, "SELECT * FROM rows ORDER BY key") == rows
    assert with_archive.exists()


def test_what_schema_3_took_over_from_schema_2_is_read_as_well(tmp_path: Path) -> None:
    """Its migration left gaps in the journal, and the archive as it was: here up to the first."""
    (tmp_path / "oldest").mkdir()
    twin, path = old(tmp_path / "oldest", "shard-0", 2), old(tmp_path, "shard-0", 3)
    events = events_of(twin)
    gap = next(e.sequence for e in events if name_of(e) == "ChunkAcknowledged")
    select(path, "DELETE FROM events")
    archive_events([e for e in events if e.sequence < gap], tmp_path / "archive", "shard-0")
    later = [e for e in events if e.sequence > gap and name_of(e) != "ChunkAcknowledged"]
    for event in later:
        write(path, event._replace(data=as_schema_3(event.data)))
    migrated(path)
    migrated(twin)
    every = "SELECT * FROM rows ORDER BY key"
    assert select(path, every) == select(twin, every)
    assert [e.sequence for e in events_of(path)] == [e.sequence for e in later]


def as_schema_3(data: bytes) -> bytes:
    """The event as the release of schema 3 wrote it: a move as a list, the job with its student."""
    name, _, text = data.partition(b" ")
    fields = json.loads(text)
    if name == b"JobMoved":
        fields = list(fields.values())
    if name == b"StudentInstalled":
        fields["job_id"] = "job-" + fields["delivery_id"].removeprefix("dlv-")
    return name + b" " + json.dumps(fields).encode()


def write(path: Path, event: StreamEvent) -> None:
    row = (event.sequence, 1, event.stream, event.at, tables.packed([event.data]))
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", row)
    connection.close()


# --- what cannot be migrated ---


def test_events_that_are_nowhere_are_named(shard_path: Path, schema: int) -> None:
    [(first,)] = select(shard_path, "SELECT min(sequence) FROM events WHERE sequence > 3")
    select(shard_path, f"DELETE FROM events WHERE sequence < {first}")
    missing = f"events 1 to {first - 1} of shard-0 are missing: put their archive"
    with pytest.raises(Invalid, match=missing):
        migrated(shard_path)
    assert inspect(shard_path).schema_version == schema


def test_an_event_that_cannot_be_read_is_named(shard_path: Path, schema: int) -> None:
    unheard = "Unheard {}" if schema == 2 else "10:Unheard {}"
    one = "SELECT sequence FROM events WHERE sequence > 6 LIMIT 1"
    [(sequence,)] = select(shard_path, one)
    select(
        shard_path,
        f"UPDATE events SET data = CAST('{unheard}' AS BLOB) WHERE sequence = {sequence}",
    )
    with pytest.raises(Invalid, match=rf"event {sequence} \(Unheard\) cannot be read"):
        migrated(shard_path)
    assert inspect(shard_path).schema_version == schema


def test_another_schema_or_publisher_is_refused(shard_path: Path) -> None:
    with pytest.raises(Invalid, match="check cluster_id"):
        migrated(shard_path, replace(SHARD, cluster_id="other"))
    migrated(shard_path)
    with pytest.raises(Invalid, match=f"of schema {SCHEMA}, and only schemas 2 and 3 are read"):
        migrated(shard_path)


def test_who_opens_an_older_journal_is_told_to_migrate_it(shard_path: Path, schema: int) -> None:
    with pytest.raises(Invalid, match=f"of schema {schema}: run `stillhouse state migrate`"):
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


def test_a_kill_at_the_rename_leaves_the_old_journal(shard_path: Path, schema: int) -> None:
    assert killed_at_rename(1, lambda: migrated(shard_path))
    assert whole(shard_path) == schema
    migrated(shard_path)
    assert whole(shard_path) == SCHEMA


def test_killed_at_any_moment_one_of_the_two_is_whole(tmp_path: Path, schema: int) -> None:
    began = time.monotonic()
    (tmp_path / "timed").mkdir()
    migrated(old(tmp_path / "timed", "shard-0", schema))
    lasts_s, found = time.monotonic() - began, set()
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = old(folder, "shard-0", schema)
        killed_after(lasts_s * number / 10, path)
        found.add(whole(path))
        if whole(path) == schema:
            migrated(path)
        assert whole(path) == SCHEMA
        SqliteJournal(path, SHARD).close()
    assert schema in found


def killed_after(seconds: float, path: Path) -> None:
    child = os.fork()
    if child == 0:
        migrated(path)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
