"""The tables of a SQLite journal, and what a commit writes into them.

Events that follow one another in one story are one row; index tables hold what is under way, so
that nothing is ever searched for.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from itertools import chain, groupby, islice, starmap
from operator import itemgetter
from typing import Any

import apsw

from cluster.journal.contract import Commit, StoredEvent, StreamEvent
from stillhouse.decisions import Index, Place
from stillhouse.entities import JobState
from stillhouse.listing import Listing

RUNS = f"state = '{JobState.RUNNING}'"

TABLES = f"""
CREATE TABLE journal(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id TEXT NOT NULL, publisher TEXT NOT NULL, shards INTEGER NOT NULL,
  schema INTEGER NOT NULL, epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE events(
  sequence INTEGER PRIMARY KEY, events INTEGER NOT NULL, stream TEXT NOT NULL, at REAL NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE INDEX events_of_stream ON events(stream, sequence);
CREATE TABLE rows(key TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE answers(
  sequence INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
  status INTEGER NOT NULL, data BLOB NOT NULL, at REAL NOT NULL
) STRICT;
CREATE TABLE outbox(
  sequence INTEGER PRIMARY KEY, job_id TEXT NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL,
  attempt INTEGER NOT NULL, UNIQUE (job_id, node)
) STRICT;
CREATE TABLE ready(
  sequence INTEGER PRIMARY KEY, priority INTEGER NOT NULL, client_id TEXT NOT NULL,
  job_id TEXT NOT NULL, node TEXT NOT NULL, attempt INTEGER NOT NULL, UNIQUE (job_id, node)
) STRICT;
CREATE INDEX ready_by_client ON ready(priority, client_id, sequence);
CREATE TABLE due(
  at REAL NOT NULL, job_id TEXT NOT NULL, node TEXT NOT NULL, attempt INTEGER NOT NULL,
  PRIMARY KEY (job_id, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX due_by_time ON due(at, job_id, node);
CREATE TABLE waiting(job_id TEXT PRIMARY KEY, model TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_by_model ON waiting(model, job_id);
CREATE TABLE dead(id TEXT PRIMARY KEY, at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX dead_by_time ON dead(at, id);
CREATE TABLE states(state TEXT PRIMARY KEY, jobs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
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
CREATE INDEX running_by_client ON listed(client_id, submitted_at, job_id) WHERE {RUNS};
"""


def behind(sequence: int, rows: Iterable[Any], limit: int) -> list[StoredEvent]:
    """The events of these rows above a sequence."""
    every = chain.from_iterable(starmap(unpacked, rows))
    later = (each for each in every if each.sequence > sequence)
    return [StoredEvent(each.sequence, each.at, each.data) for each in islice(later, limit)]


def write(connection: apsw.Connection, batch: Commit) -> None:
    """All that a commit changes; the statements stay prepared in the connection's cache."""
    if batch.events:
        write_events(connection, batch)
    put(
        connection,
        batch.rows,
        "DELETE FROM rows WHERE key = ?",
        "INSERT INTO rows VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
    )
    write_index(connection, batch.index)
    connection.executemany(
        "INSERT INTO answers(key, digest, status, data, at) VALUES (?, ?, ?, ?, ?)",
        [(*each, batch.now) for each in batch.answers],
    )


def write_events(connection: apsw.Connection, batch: Commit) -> None:
    """Events that follow one another in one story are one row, under the first one's sequence.

    A command makes about three: a third of the rows, and of the entries of their index.
    """
    last = "SELECT sequence + events FROM events ORDER BY sequence DESC LIMIT 1"
    [next_one] = connection.execute(last).fetchone() or (1,)
    rows = []
    for stream, run in groupby(batch.events, key=itemgetter(0)):
        events = [data for _, data in run]
        rows.append((next_one, len(events), stream, batch.now, packed(events)))
        next_one += len(events)
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)


def packed(events: Iterable[bytes]) -> bytes:
    """Events behind one another, each as `length:bytes` (netstrings without their comma)."""
    return b"".join(b"%d:%b" % (len(data), data) for data in events)


def unpacked(sequence: int, stream: str, at: float, data: bytes) -> Iterator[StreamEvent]:
    """The events of one row."""
    at_byte = 0
    while at_byte < len(data):
        colon = data.index(b":", at_byte)
        end = colon + 1 + int(data[at_byte:colon])
        yield StreamEvent(sequence, stream, at, data[colon + 1 : end])
        sequence, at_byte = sequence + 1, end


def write_index(connection: apsw.Connection, index: Index) -> None:
    """Entries that ended, then those that began."""
    put_places(
        connection,
        index.outbox,
        "DELETE FROM outbox WHERE job_id = ? AND node = ?",
        "REPLACE INTO outbox(job_id, node, kind, attempt) VALUES (?, ?, ?, ?)",
    )
    put_places(
        connection,
        index.ready,
        "DELETE FROM ready WHERE job_id = ? AND node = ?",
        "REPLACE INTO ready(priority, client_id, job_id, node, attempt) VALUES (?, ?, ?, ?, ?)",
    )
    put_places(
        connection,
        index.due,
        "DELETE FROM due WHERE job_id = ? AND node = ?",
        "REPLACE INTO due VALUES (?, ?, ?, ?)",
    )
    put(
        connection,
        index.waiting,
        "DELETE FROM waiting WHERE job_id = ?",
        "REPLACE INTO waiting VALUES (?, ?)",
    )
    put(
        connection,
        index.dead,
        "DELETE FROM dead WHERE id = ?",
        "REPLACE INTO dead VALUES (?, ?)",
    )
    if index.listed:
        write_listed(connection, index.listed)


def put(connection: apsw.Connection, changes: Mapping[str, Any], delete: str, insert: str) -> None:
    """Each change by its key."""
    connection.executemany(delete, [(key,) for key, value in changes.items() if value is None])
    connection.executemany(insert, [pair for pair in changes.items() if pair[1] is not None])


def put_places(
    connection: apsw.Connection,
    changes: Mapping[Place, tuple[Any, ...] | None],
    delete: str,
    insert: str,
) -> None:
    """Each change of a node's entry; what begins says its place itself."""
    connection.executemany(delete, [place for place, value in changes.items() if value is None])
    connection.executemany(insert, [value for value in changes.values() if value is not None])


def write_listed(connection: apsw.Connection, listed: Mapping[str, Listing]) -> None:
    """The list's lines, and how many of each state there are, so that nobody need count them."""
    was = connection.executemany(
        "SELECT state FROM listed WHERE job_id = ?", [(job,) for job in listed]
    )
    more = Counter(each.state for each in listed.values())
    more.subtract(str(state) for (state,) in was.fetchall())
    connection.executemany(
        "INSERT INTO states VALUES (?, ?) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs",
        [(state, jobs) for state, jobs in more.items() if jobs],
    )
    connection.executemany(
        "INSERT INTO listed VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET state = excluded.state, verdict = excluded.verdict",
        map(astuple, listed.values()),
    )
