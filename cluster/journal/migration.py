"""Makes a journal of the present schema from one of an earlier one, by replay of its events.

Rows and indexes follow from the events, so they are made anew by the rules; events keep their
sequences, times and streams, answers stay as they are, and so does the epoch. The new journal is
written under another name and takes the old one's place at once; the old one stays beside it as
`<name>.schema-N.bak`. Killed at any moment, one of the two is whole under the journal's name.

Nobody else may have the journal open: its log would be taken for the new one's.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import apsw

from cluster.journal import schema_2, schema_3, sqlite, tables
from cluster.journal.archive import archived_events
from cluster.journal.contract import Commit, JournalIdentity, StreamEvent
from cluster.journal.inspection import connect, identity_of
from cluster.private_files import sync_folder
from stillhouse.codec import Codec
from stillhouse.decisions import Index, Rules
from stillhouse.errors import Conflict, Invalid, JournalUnavailable

PAGE = 1_000  # events in one commit
KEPT_ROWS = 20_000  # in memory
Progress = Callable[[float], None]  # told the share that is done
EARLIER: Mapping[int, Callable[[apsw.Connection], Iterator[StreamEvent]]] = {
    2: schema_2.events,
    3: schema_3.events,
}  # schema -> how a journal's own events are selected; `schema_2.read` reads those of each


def migrate(
    path: Path,
    identity: JournalIdentity,
    rules: Rules,
    events: Codec,
    archive: Path,
    progress: Progress = lambda _: None,
) -> Path:
    """Bring the journal at `path` to `identity.schema`; where the old one is kept.

    Invalid and Conflict say what to do first; JournalUnavailable.
    """
    schema = checked(path, identity)
    ends = (".migrating", f".schema-{schema}.bak")
    new, old = (path.with_name(f"{path.name}{end}") for end in ends)
    try:
        with closing(connect(path)) as source:
            alone(source, path)
            clear(new)
            sqlite.initialise(new, identity)
            with closing(sqlite.connect(new)) as target:
                first, last = extent(source)
                own = EARLIER[schema](source)
                archived = archived_events(archive, identity.publisher)
                found = followed(whole(chain(archived, own), archive, identity), last, progress)
                replay = Replay(target, rules, events)
                for page in pages(found):
                    replay.page(page, first)
                copy_rest(source, target)
            swap(path, new, old)
    except apsw.Error as error:
        raise JournalUnavailable(f"{path}: {type(error).__name__}: {error}") from error
    return old


def checked(path: Path, identity: JournalIdentity) -> int:
    """The schema of this publisher's journal; Invalid if it is another's, or not one of EARLIER."""
    found = identity_of(path)
    if found.schema not in EARLIER:
        read = " and ".join(map(str, EARLIER))
        raise Invalid(
            f"{path.name} is of schema {found.schema}, and only schemas {read} are read here: "
            f"migrate it with the release that came after its own"
        )
    wanted = (identity.cluster_id, identity.publisher, identity.shards)
    if (found.cluster_id, found.publisher, found.shards) != wanted:
        raise Invalid(f"{path.name} is of {found}: check cluster_id and shards in the settings")
    return found.schema


def alone(source: apsw.Connection, path: Path) -> None:
    """Nobody else has the journal open, nor can while we hold it; its log is in it. Conflict."""
    try:
        source.execute("PRAGMA journal_mode = DELETE").fetchall()
        source.execute("BEGIN EXCLUSIVE")
    except apsw.BusyError:
        raise Conflict(f"{path.name} is in use: stop the server, then migrate") from None


def clear(new: Path) -> None:
    """Without what a migration that was killed has left."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)


def whole(
    events: Iterable[StreamEvent], archive: Path, identity: JournalIdentity
) -> Iterator[StreamEvent]:
    """All events from the first on, each once; Invalid if some are missing."""
    expected = 1
    for event in events:
        if event.sequence == expected + 1 and schema_2.left_out(event):
            expected += 1
        if event.sequence > expected:
            missing = f"events {expected} to {event.sequence - 1} of {identity.publisher}"
            raise Invalid(f"{missing} are missing: put their archive files into {archive}")
        if event.sequence == expected:
            yield event
            expected += 1


def extent(source: apsw.Connection) -> tuple[int, int]:
    """The first sequence that the journal holds itself, and that of its last row."""
    found: Any = source.execute("SELECT min(sequence), max(sequence) FROM events").fetchall()
    return found[0][0] or 0, found[0][1] or 0


def followed(events: Iterable[StreamEvent], last: int, progress: Progress) -> Iterator[StreamEvent]:
    """The events, while somebody is told how far they are."""
    for event in events:
        yield event
        progress(min(event.sequence / last, 1.0))  # the last row may hold more than one


class Rows(dict[str, Any]):
    """Rows as replay asks for them; None for a key that has none."""

    def __init__(self, connection: apsw.Connection, rules: Rules) -> None:
        super().__init__()
        self._connection, self._rules = connection, rules

    def __missing__(self, key: str) -> Any:
        select = "SELECT data FROM rows WHERE key = ?"
        found: Any = self._connection.execute(select, (key,)).fetchall()
        row = self[key] = self._rules.decode(key, found[0][0]) if found else None
        return row


class Replay:
    """Writes events, and what follows from them, into a new journal."""

    def __init__(self, target: apsw.Connection, rules: Rules, events: Codec) -> None:
        self._target, self._rules, self._events = target, rules, events
        self._rows = Rows(target, rules)

    def page(self, page: Sequence[StreamEvent], first: int) -> None:
        """One commit; of events before the sequence `first`, which are archived, the rows alone."""
        index, changed, written = Index(), dict[str, Any](), list[StreamEvent]()
        for event in page:
            happened = self._read(event)
            if happened is not None:
                self._evolve(happened, index, changed)
                stream, data = self._rules.stream(happened), self._rules.encode_event(happened)
                written.append(event._replace(stream=stream, data=data))
        encode = self._rules.encode
        rows = {key: None if row is None else encode(row) for key, row in changed.items()}
        with self._target:
            tables.write(self._target, Commit(page[-1].at, rows=rows, index=index))
            self._target.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                runs(event for event in written if event.sequence >= first),
            )
        if len(self._rows) > KEPT_ROWS:
            self._rows.clear()

    def _read(self, event: StreamEvent) -> Any | None:
        try:
            return schema_2.read(event.data, self._rows, self._events)
        except (KeyError, ValueError) as error:
            name = event.data.partition(b" ")[0].decode(errors="replace")
            raise Invalid(
                f"event {event.sequence} ({name[:40]}) cannot be read ({type(error).__name__}): "
                "go on with the release that wrote it, and report this"
            ) from error

    def _evolve(self, happened: Any, index: Index, changed: dict[str, Any]) -> None:
        rows = self._rules.evolve(self._rows, happened)
        self._rows.update(rows)
        changed.update(rows)
        begun = Index()
        self._rules.index(self._rows, happened, begun)
        index.update(begun)


def runs(events: Iterable[StreamEvent]) -> Iterator[tuple[int, int, str, float, bytes]]:
    """Rows of events that follow one another, without a gap, in one story and at one time."""

    def run(numbered: tuple[int, StreamEvent]) -> tuple[int, str, float]:
        index, event = numbered
        return event.sequence - index, event.stream, event.at

    for _, found in groupby(enumerate(events), run):
        together = [event for _, event in found]
        first, data = together[0], tables.packed(event.data for event in together)
        yield first.sequence, len(together), first.stream, first.at, data


def pages(events: Iterator[StreamEvent]) -> Iterator[list[StreamEvent]]:
    while page := list(islice(events, PAGE)):
        yield page


def copy_rest(source: apsw.Connection, target: apsw.Connection) -> None:
    """Answers, and the epoch: an older writer stays fenced."""
    answers = source.execute("SELECT key, digest, status, data, at FROM answers ORDER BY at")
    insert = "INSERT INTO answers(key, digest, status, data, at) VALUES (?, ?, ?, ?, ?)"
    with target:
        target.executemany(insert, answers)
        target.executemany(
            "UPDATE journal SET epoch = ?", source.execute("SELECT epoch FROM journal")
        )


def swap(path: Path, new: Path, old: Path) -> None:
    """The new journal in the old one's place, at once."""
    if old.exists() and not old.samefile(path):
        raise Conflict(f"{old} exists, from another migration: move it away")
    if not old.exists():
        os.link(path, old)
    sync_folder(path.parent)
    new.replace(path)
    sync_folder(path.parent)
