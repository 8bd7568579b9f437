"""The journal in SQLite: write-ahead log, an fsync for each commit, one writer connection.

apsw bundles a current SQLite; the system's `sqlite3` may have the WAL-reset bug (3.7.0-3.51.2).
After any failure the connection is closed, which rolls back, and the next call opens another under
the same epoch.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import apsw

from cluster.journal.contract import (
    MANY,
    Commit,
    Deadline,
    JournalIdentity,
    StoredAnswer,
    StoredEvent,
    check_identity,
)
from cluster.private_files import make_folder
from stillhouse.decisions import Effect, Index
from stillhouse.errors import Conflict, Fenced, JournalMissing, JournalUnavailable
from stillhouse.listing import Filters, Position

LAST = "\U0010ffff"  # sorts behind whatever a key holds
BUSY_MS = 2_000  # only while a fenced writer finishes its last commit

SCHEMA = """
CREATE TABLE journal(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id TEXT NOT NULL, publisher TEXT NOT NULL, shards INTEGER NOT NULL,
  schema INTEGER NOT NULL, epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE events(
  sequence INTEGER PRIMARY KEY, stream TEXT NOT NULL, at REAL NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX events_of_stream ON events(stream, sequence);
CREATE TABLE rows(key TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE answers(
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, data BLOB NOT NULL,
  at REAL NOT NULL
) STRICT;
CREATE INDEX answers_by_age ON answers(at);
CREATE TABLE outbox(
  sequence INTEGER PRIMARY KEY, job_id TEXT NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL,
  attempt INTEGER NOT NULL, UNIQUE (job_id, node)
) STRICT;
CREATE TABLE due(
  at REAL NOT NULL, job_id TEXT NOT NULL, node TEXT NOT NULL, attempt INTEGER NOT NULL,
  PRIMARY KEY (job_id, node)
) STRICT;
CREATE INDEX due_by_time ON due(at, job_id, node);
CREATE TABLE waiting(job_id TEXT PRIMARY KEY, model TEXT NOT NULL) STRICT;
CREATE INDEX waiting_by_model ON waiting(model, job_id);
CREATE TABLE listed(
  job_id TEXT PRIMARY KEY, submitted_at REAL NOT NULL, client_id TEXT NOT NULL,
  edge_model_profile_id TEXT NOT NULL, central_model TEXT NOT NULL, state TEXT NOT NULL,
  verdict TEXT
) STRICT;
CREATE INDEX listed_by_time ON listed(submitted_at, job_id);
CREATE INDEX listed_by_client ON listed(client_id, submitted_at, job_id);
CREATE INDEX listed_by_profile ON listed(edge_model_profile_id, submitted_at, job_id);
CREATE INDEX listed_by_model ON listed(central_model, submitted_at, job_id);
CREATE INDEX listed_by_state ON listed(state, submitted_at, job_id);
CREATE INDEX listed_by_verdict ON listed(verdict, submitted_at, job_id);
"""


def initialise(path: Path, identity: JournalIdentity) -> None:
    """Make the journal at `path` (0600, in a folder of 0700); Conflict if there is one."""
    make_folder(path.parent)
    path.touch(mode=0o600)
    connection = connect(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        if connection.table_exists(None, "journal"):
            raise Conflict(f"there is a journal at {path}")
        connection.execute(SCHEMA)
        connection.execute(
            "INSERT INTO journal VALUES (1, ?, ?, ?, ?, 0)",
            (identity.cluster_id, identity.publisher, identity.shards, identity.schema),
        )
        connection.execute("COMMIT")
    finally:
        connection.close()


def connect(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A connection to the file at `path`; apsw.CantOpenError if there is none.

    `vfs` names a registered VFS (tests put one in that loses and tears writes).
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    return connection


class SqliteJournal:
    """A journal over the file at `path`; opening it fences whoever had it open."""

    def __init__(self, path: Path, identity: JournalIdentity, vfs: str | None = None) -> None:
        if not path.exists():
            raise JournalMissing(f"there is no journal at {path}")
        self._path, self._vfs = path, vfs
        self._connection: apsw.Connection | None = None
        self._epoch = self._take_epoch(identity)

    def _take_epoch(self, identity: JournalIdentity) -> int:
        epoch: int
        with self._transaction() as connection:
            if not connection.table_exists(None, "journal"):
                raise JournalMissing(f"the journal at {self._path} was never initialised")
            select = "SELECT cluster_id, publisher, shards, schema, epoch FROM journal"
            [(*found, epoch)] = connection.execute(select)
            check_identity(JournalIdentity(*found), identity)
            connection.execute("UPDATE journal SET epoch = ?", (epoch + 1,))
            return epoch + 1

    # --- connection: open as long as nothing fails ---

    @contextlib.contextmanager
    def _opened(self) -> Iterator[apsw.Connection]:
        try:
            if self._connection is None:
                self._connection = connect(self._path, self._vfs)
            yield self._connection
        except apsw.Error as error:
            self.close()
            raise JournalUnavailable(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _select(self, query: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        with self._opened() as connection:
            return connection.execute(query, bindings).fetchall()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(force=True)  # rolls back what is open

    # --- the contract ---

    def commit(self, batch: Commit) -> None:
        with self._transaction() as connection:
            if list(connection.execute("SELECT epoch FROM journal")) != [(self._epoch,)]:
                raise Fenced("another writer has opened the journal")
            write(connection, batch)

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        with self._opened() as connection:
            select = "SELECT key, data FROM rows WHERE key = ?"
            return dict(connection.executemany(select, ((key,) for key in keys)))

    def answer(self, key: str) -> StoredAnswer | None:
        found = self._select("SELECT key, digest, status, data FROM answers WHERE key = ?", (key,))
        return StoredAnswer(*found[0]) if found else None

    def forget_answers(self, before: float) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM answers WHERE at < ?", (before,))

    def outbox(self) -> list[Effect]:
        found = self._select("SELECT job_id, node, kind, attempt FROM outbox ORDER BY sequence")
        return [Effect(*each) for each in found]

    def due(self, now: float, limit: int) -> list[Deadline]:
        found = self._select(
            "SELECT * FROM due WHERE at <= ? ORDER BY at, job_id, node LIMIT ?",
            (now, limit),
        )
        return [Deadline(*each) for each in found]

    def waiting(self, model: str, after: str, limit: int) -> list[str]:
        found = self._select(
            "SELECT job_id FROM waiting WHERE model = ? AND job_id > ? ORDER BY job_id LIMIT ?",
            (model, after, limit),
        )
        return [job for (job,) in found]

    def listing(self, filters: Filters, after: Position, limit: int) -> list[str]:
        given = filters.given()
        # The names are fields of `Filters`, never a caller's words.
        equal = "".join(f" AND {name} = ?" for name in given)
        found = self._select(
            f"SELECT job_id FROM listed WHERE (submitted_at, job_id) < (?, ?){equal} "  # noqa: S608
            "ORDER BY submitted_at DESC, job_id DESC LIMIT ?",
            (after.submitted_at, after.job_id, *given.values(), limit),
        )
        return [job for (job,) in found]

    def states(self) -> dict[str, int]:
        return dict(self._select("SELECT state, count(*) FROM listed GROUP BY state"))

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        found = self._select(
            "SELECT key FROM rows WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
            (after, prefix, prefix + LAST, limit),
        )
        return [key for (key,) in found]

    def story(self, stream: str, after: int = 0, limit: int = MANY) -> list[StoredEvent]:
        found = self._select(
            "SELECT sequence, at, data FROM events WHERE stream = ? AND sequence > ? "
            "ORDER BY sequence LIMIT ?",
            (stream, after, limit),
        )
        return [StoredEvent(*each) for each in found]

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        found = self._select(
            "SELECT sequence, at, data FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (sequence, limit),
        )
        return [StoredEvent(*each) for each in found]


def write(connection: apsw.Connection, batch: Commit) -> None:
    """All that a commit changes; the statements stay prepared in the connection's cache."""
    many = connection.executemany
    many(
        "INSERT INTO events(stream, at, data) VALUES (?, ?, ?)",
        ((stream, batch.now, data) for stream, data in batch.events),
    )
    rows = batch.rows.items()
    many("DELETE FROM rows WHERE key = ?", ((key,) for key, data in rows if data is None))
    many(
        "INSERT INTO rows VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
        ((key, data) for key, data in rows if data is not None),
    )
    for index in batch.indexes:
        change(connection, index)
    many(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?)", ((*each, batch.now) for each in batch.answers)
    )


def change(connection: apsw.Connection, index: Index) -> None:
    """Endings before beginnings, as the contract says."""
    many = connection.executemany
    many("DELETE FROM outbox WHERE job_id = ? AND node = ?", index.done)
    many("DELETE FROM due WHERE job_id = ? AND node = ?", index.met)
    many("DELETE FROM waiting WHERE job_id = ?", ((job,) for job in index.arrived))
    many(
        "REPLACE INTO outbox(job_id, node, kind, attempt) VALUES (?, ?, ?, ?)",
        ((each.job_id, each.node, each.kind, each.attempt) for each in index.outbox),
    )
    many("REPLACE INTO due VALUES (?, ?, ?, ?)", index.due)
    many("REPLACE INTO waiting(model, job_id) VALUES (?, ?)", index.waiting)
    many("REPLACE INTO listed VALUES (?, ?, ?, ?, ?, ?, ?)", map(astuple, index.listed))
