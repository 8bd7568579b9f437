"""What a journal keeps, and what every backend promises.

A journal belongs to one publisher (a shard, the vault) and has one writer. It is made by an
explicit `initialise`; each opening takes the next epoch, which every commit checks, so that an
older writer is fenced. A commit is all or nothing, and durable when it returns. When it raises
JournalUnavailable nothing was acknowledged, and the next call starts afresh.

One suite (tests/cluster/test_journal.py) runs over every backend.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stillhouse.decisions import Effect, Index
from stillhouse.errors import Invalid
from stillhouse.listing import Filters, Position

MANY = 10_000  # events of one story at once


@dataclass(frozen=True, slots=True)
class JournalIdentity:
    """Whose journal it is: opening it as another's is an error, never a fresh start."""

    cluster_id: str
    publisher: str  # "shard-0", "vault"
    shards: int
    schema: int


class StoredEvent(NamedTuple):
    """An event as it was committed; sequences start at 1 and have no gaps."""

    sequence: int
    at: float
    data: bytes


class StoredAnswer(NamedTuple):
    """The answer to a command, found again by the command's key."""

    key: str
    digest: str
    status: int
    data: bytes


class Deadline(NamedTuple):
    """When an attempt of a job expires."""

    at: float
    job_id: str
    node: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction. Index changes apply in order; in each, endings before beginnings."""

    now: float
    events: tuple[tuple[str, bytes], ...] = ()  # (stream, data)
    rows: Mapping[str, bytes | None] = field(default_factory=dict)  # None deletes
    indexes: tuple[Index, ...] = ()
    answers: tuple[StoredAnswer, ...] = ()


class Journal(Protocol):
    """Reads see committed state alone; any call may raise JournalUnavailable."""

    def commit(self, batch: Commit) -> None:
        """All of it or nothing. An answer whose key is taken is JournalUnavailable too; Fenced."""

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The rows that exist among `keys`."""

    def answer(self, key: str) -> StoredAnswer | None: ...

    def forget_answers(self, before: float) -> None:
        """Drop the answers committed before this time: a repeat that old is refused as stale."""

    def outbox(self) -> list[Effect]:
        """Effects that began and have no result yet, oldest first."""

    def due(self, now: float, limit: int) -> list[Deadline]:
        """Deadlines at or before `now`, earliest first."""

    def waiting(self, model: str, after: str, limit: int) -> list[str]:
        """Jobs that wait for the central model of this name, by id, those above `after`."""

    def listing(self, filters: Filters, after: Position, limit: int) -> list[str]:
        """Ids of jobs that pass, newest first, from behind `after` on."""

    def states(self) -> dict[str, int]:
        """How many listed jobs are in each state."""

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Keys of rows that begin with `prefix`, in order, those above `after`."""

    def story(self, stream: str, after: int = 0, limit: int = MANY) -> list[StoredEvent]:
        """Events of a stream above the sequence `after`, oldest first."""

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """The publisher's events above `sequence`, oldest first."""

    def close(self) -> None: ...


def check_identity(found: JournalIdentity, wanted: JournalIdentity) -> None:
    """Invalid if the journal was initialised for another publisher, cluster, N or schema."""
    if found != wanted:
        raise Invalid(f"the journal is of {found}, not of {wanted}")
