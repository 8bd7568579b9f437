"""What a journal is and whether it is sound, read without taking an epoch: nobody is fenced."""

from pathlib import Path
from typing import Any

import apsw

from cluster.journal.contract import JournalIdentity
from stillhouse.entities import Entity
from stillhouse.errors import JournalMissing, JournalUnavailable


class Inspection(Entity):
    """A journal as it was found."""

    name: str
    cluster_id: str
    publisher: str
    shards: int
    schema_version: int
    epoch: int
    events: int
    rows: int
    states: dict[str, int]  # listed jobs by state
    damage: tuple[str, ...]  # empty if it is sound

    @property
    def identity(self) -> JournalIdentity:
        return JournalIdentity(self.cluster_id, self.publisher, self.shards, self.schema_version)


def connect(path: Path) -> apsw.Connection:
    """A connection that leaves the journal as it is; JournalMissing if there is no file."""
    if not path.exists():
        raise JournalMissing(f"there is no journal at {path}")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(2_000)
    return connection


def inspect(path: Path, deep: bool = True) -> Inspection:
    """Identity and counts; `deep` reads every page of it. JournalMissing, JournalUnavailable."""
    connection = connect(path)
    try:
        if not connection.table_exists(None, "journal"):
            raise JournalMissing(f"the journal at {path} was never initialised")
        return inspected(path.name, connection, deep)
    except apsw.Error as error:
        raise JournalUnavailable(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        connection.close(force=True)


def identity_of(path: Path) -> JournalIdentity:
    """Whose journal it is, whatever its schema and size. JournalMissing, JournalUnavailable."""
    try:
        connection = connect(path)
        try:
            select = "SELECT cluster_id, publisher, shards, schema FROM journal"
            found: Any = connection.execute(select).fetchall()
            return JournalIdentity(*found[0])
        finally:
            connection.close(force=True)
    except (apsw.CantOpenError, apsw.SQLError, IndexError):
        raise JournalMissing(f"there is no journal at {path}") from None
    except apsw.Error as error:
        raise JournalUnavailable(f"{path}: {type(error).__name__}: {error}") from error


def inspected(name: str, connection: apsw.Connection, deep: bool) -> Inspection:
    def rows(query: str) -> Any:
        return connection.execute(query).fetchall()

    identity = rows("SELECT cluster_id, publisher, shards, schema, epoch FROM journal")[0]
    found = rows("PRAGMA integrity_check") if deep else []
    runs = rows("SELECT 1 FROM pragma_table_info('events') WHERE name = 'events'")
    counted = "sum(events)" if runs else "count(*)"  # schema 2: each was a row of its own
    return Inspection(
        name=name,
        cluster_id=identity[0],
        publisher=identity[1],
        shards=identity[2],
        schema_version=identity[3],
        epoch=identity[4],
        events=rows(f"SELECT {counted} FROM events")[0][0] or 0,  # noqa: S608
        rows=rows("SELECT count(*) FROM rows")[0][0],
        states=dict(rows("SELECT state, count(*) FROM listed GROUP BY state")),
        damage=tuple(line for (line,) in found if line != "ok"),
    )
