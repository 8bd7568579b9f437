"""The journal in SQLite: write-ahead log, an fsync for each commit, one writer connection.

A second connection reads, so that a commit in its own thread and the reads of the next batch go on
side by side. apsw bundles a current SQLite; the system's `sqlite3` may have the WAL-reset bug
(3.7.0-3.51.2). After any failure the connection is closed, which rolls back, and the next call
opens another under the same epoch.
"""

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from cluster.journal.contract import (
    MANY,
    Commit,
    JournalIdentity,
    StoredAnswer,
    StoredEvent,
    StreamEvent,
    check_identity,
)
from cluster.journal.tables import RUNS, TABLES, behind, unpacked, write
from cluster.private_files import make_folder, sync_folder
from stillhouse.decisions import Deadline, Effect, Ready
from stillhouse.errors import Conflict, Fenced, JournalMissing, JournalUnavailable
from stillhouse.listing import Filters, Position

LAST = "\U0010ffff"  # sorts behind whatever a key holds
BUSY_MS = 2_000  # only while a fenced writer finishes its last commit
CHECKPOINT_PAGES = 4_000  # of the log, 16 MiB: pages written again and again are copied once
CACHE_KIB = 32 << 10  # a connection


def initialise(path: Path, identity: JournalIdentity) -> None:
    """Make the journal at `path` (0600, in a folder of 0700); Conflict if there is one."""
    make_folder(path.parent)
    path.touch(mode=0o600)
    connection = connect(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        if connection.table_exists(None, "journal"):
            raise Conflict(f"there is a journal at {path}")
        connection.execute(TABLES)
        connection.execute(
            "INSERT INTO journal VALUES (1, ?, ?, ?, ?, 0)",
            (identity.cluster_id, identity.publisher, identity.shards, identity.schema),
        )
        connection.execute("COMMIT")
    finally:
        connection.close()
    sync_folder(path.parent)  # SQLite syncs no folder for a file that was there


def connect(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A connection to the file at `path`; apsw.CantOpenError if there is none.

    `vfs` names a registered VFS (tests put one in that loses and tears writes).
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute(
        f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA cache_size = -{CACHE_KIB}"
    )
    return connection


def settle(connection: apsw.Connection) -> None:
    """Make durable what is read: a commit whose sync failed is found in the log all the same.

    What a failed sync was to write, the system may never write: it is copied into the database, and
    a commit syncs the emptied log. The epoch changes twice, since SQLite writes no page as it was.
    """
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE journal SET epoch = epoch + 1")
    connection.execute("UPDATE journal SET epoch = epoch - 1")
    connection.execute("COMMIT")


class SqliteJournal:
    """A journal over the file at `path`; opening it fences whoever had it open."""

    def __init__(self, path: Path, identity: JournalIdentity, vfs: str | None = None) -> None:
        if not path.exists():
            raise JournalMissing(f"there is no journal at {path}")
        self._path, self._vfs = path, vfs
        self._open: dict[str, apsw.Connection] = {}  # the one that writes, and the one that reads
        self._epoch = 0
        self._epoch = self._take_epoch(identity)
        self._select("SELECT 1")  # a reader stays open while a failed writer is opened anew

    def _take_epoch(self, identity: JournalIdentity) -> int:
        """The next epoch.

        What is found may be in the system's memory alone, if a process died after a failed sync:
        the log is copied into the database first, and the epoch's commit syncs.
        """
        epoch: int
        with self._connection("writes") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with self._transaction() as connection:
            if not connection.table_exists(None, "journal"):
                raise JournalMissing(f"the journal at {self._path} was never initialised")
            select = "SELECT cluster_id, publisher, shards, schema, epoch FROM journal"
            [(*found, epoch)] = connection.execute(select)
            check_identity(JournalIdentity(*found), identity)
            connection.execute("UPDATE journal SET epoch = ?", (epoch + 1,))
            return epoch + 1

    # --- connections: open as long as nothing fails ---

    @contextlib.contextmanager
    def _connection(self, name: str) -> Iterator[apsw.Connection]:
        try:
            if name not in self._open:
                self._open[name] = self._connect()
            yield self._open[name]
        except apsw.Error as error:
            self._close(name)
            raise JournalUnavailable(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self._close(name)
            raise

    def _connect(self) -> apsw.Connection:
        """A connection; the first one after a failure makes durable what it finds."""
        connection = connect(self._path, self._vfs)
        try:
            if self._epoch and not self._open:
                settle(connection)
        except apsw.Error:
            connection.close(force=True)
            raise
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with self._connection("writes") as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _select(self, query: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        with self._connection("reads") as connection:
            return connection.execute(query, bindings).fetchall()

    def _each(self, query: str, keys: Iterable[str]) -> list[Any]:
        with self._connection("reads") as connection:
            return connection.executemany(query, ((key,) for key in keys)).fetchall()

    def _close(self, name: str) -> None:
        connection = self._open.pop(name, None)
        if connection is not None:
            with contextlib.suppress(apsw.Error):  # a VFS in Python says what SQLite passes over
                connection.close(force=True)  # rolls back what is open

    def close(self) -> None:
        for name in list(self._open):
            self._close(name)

    # --- the contract ---

    def commit(self, batch: Commit) -> None:
        with self._transaction() as connection:
            if list(connection.execute("SELECT epoch FROM journal")) != [(self._epoch,)]:
                raise Fenced("another writer has opened the journal")
            write(connection, batch)

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        return dict(self._each("SELECT key, data FROM rows WHERE key = ?", keys))

    def answers(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        select = "SELECT key, digest, status, data FROM answers WHERE key = ?"
        return {key: StoredAnswer(key, *rest) for key, *rest in self._each(select, keys)}

    def forget_answers(self, before: float, limit: int) -> int:
        oldest = "SELECT sequence FROM answers ORDER BY sequence LIMIT ?"
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM answers WHERE sequence IN ({oldest}) AND at < ?",  # noqa: S608
                (limit, before),
            )
            return connection.changes()

    def outbox(self) -> list[Effect]:
        found = self._select("SELECT job_id, node, kind, attempt FROM outbox ORDER BY sequence")
        return [Effect(*each) for each in found]

    def due(self, now: float, limit: int) -> list[Deadline]:
        found = self._select(
            "SELECT at, job_id, node, attempt FROM due WHERE at <= ? "
            "ORDER BY at, job_id, node LIMIT ?",
            (now, limit),
        )
        return [Deadline(*each) for each in found]

    def ready(self, priority: int, after: str) -> Ready | None:
        found = self._select(
            "SELECT priority, client_id, job_id, node, attempt FROM ready "
            "WHERE priority = ? AND client_id > ? ORDER BY client_id, sequence LIMIT 1",
            (priority, after),
        )
        return Ready(*found[0]) if found else None

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

    def running_jobs(self, client_id: str, limit: int) -> list[str]:
        found = self._select(
            f"SELECT job_id FROM listed WHERE client_id = ? AND {RUNS} "  # noqa: S608
            "ORDER BY submitted_at, job_id LIMIT ?",
            (client_id, limit),
        )
        return [job for (job,) in found]

    def dead(self, after: Position, limit: int) -> list[str]:
        found = self._select(
            "SELECT id FROM dead WHERE (at, id) < (?, ?) ORDER BY at DESC, id DESC LIMIT ?",
            (after.submitted_at, after.job_id, limit),
        )
        return [letter for (letter,) in found]

    def states(self) -> dict[str, int]:
        return dict(self._select("SELECT state, jobs FROM states WHERE jobs > 0"))

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        found = self._select(
            "SELECT key FROM rows WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
            (after, prefix, prefix + LAST, limit),
        )
        return [key for (key,) in found]

    def story(self, stream: str, after: int = 0, limit: int = MANY) -> list[StoredEvent]:
        first = "SELECT max(sequence) FROM events WHERE stream = ? AND sequence <= ?"
        found = self._select(
            "SELECT sequence, stream, at, data FROM events "  # noqa: S608
            f"WHERE stream = ? AND sequence >= coalesce(({first}), 0) ORDER BY sequence LIMIT ?",
            (stream, stream, after, limit + 1),  # the first row may end before `after`
        )
        return behind(after, found, limit)

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        first = "SELECT max(sequence) FROM events WHERE sequence <= ?"
        found = self._select(
            "SELECT sequence, stream, at, data FROM events "  # noqa: S608
            f"WHERE sequence >= coalesce(({first}), 0) ORDER BY sequence LIMIT ?",
            (sequence, limit + 1),
        )
        return behind(sequence, found, limit)

    def oldest(self, before: float, limit: int) -> list[StreamEvent]:
        found = self._select(
            "SELECT sequence, stream, at, data FROM events ORDER BY sequence LIMIT ?", (limit,)
        )
        return list(chain.from_iterable(unpacked(*row) for row in found if row[2] < before))

    def forget_events(self, through: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM events WHERE sequence + events - 1 <= ? AND sequence <= ? "
                "AND sequence < (SELECT max(sequence) FROM events)",
                (through, through),
            )
