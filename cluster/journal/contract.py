"""What a journal keeps, and what every backend promises.

A journal belongs to one publisher (a shard, the vault) and has one writer. It is made by an
explicit `initialise`; each opening takes the next epoch, which every commit checks, so that an
older writer is fenced. A commit is all or nothing, and durable when it returns. When it raises
JournalUnavailable nothing was acknowledged, and the next call starts afresh. One thread commits
while others read.

One suite (tests/cluster/test_journal.py) runs over every backend.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stillhouse.decisions import Deadline, Effect, Index, Ready
from stillhouse.errors import Invalid
from stillhouse.listing import Filters, Position

MANY = 10_000  # events of one story at once
SCHEMA = 4  # of the tables, events and rows that this version writes


@dataclass(frozen=True, slots=True)
class JournalIdentity:
    """Whose journal it is: opening it as another's is an error, never a fresh start."""

    cluster_id: str
    publisher: str  # "shard-0", "vault"
    shards: int
    schema: int = SCHEMA


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


class StreamEvent(NamedTuple):
    """An event with whose story it belongs to, as it is archived."""

    sequence: int
    stream: str
    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction."""

    now: float
    events: tuple[tuple[str, bytes], ...] = ()  # (stream, data)
    rows: Mapping[str, bytes | None] = field(default_factory=dict)  # None deletes
    index: Index = field(default_factory=Index)
    answers: tuple[StoredAnswer, ...] = ()


class Journal(Protocol):
    """Reads see committed state alone; any call may raise JournalUnavailable."""

    def commit(self, batch: Commit) -> None:
        """All of it or nothing. An answer whose key is taken is JournalUnavailable too; Fenced."""

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The rows that exist among `keys`."""

    def answers(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        """The answers that were stored under `keys`."""

    def forget_answers(self, before: float, limit: int) -> int:
        """Drop the oldest answers, if committed before this time; how many.

        A repeat that old is refused by its signature's age.
        """

    def outbox(self) -> list[Effect]:
        """Effects that began and have no result yet, oldest first."""

    def due(self, now: float, limit: int) -> list[Deadline]:
        """Deadlines at or before `now`, earliest first."""

    def ready(self, priority: int, after: str) -> Ready | None:
        """The first that became ready of the next client above `after`."""

    def waiting(self, model: str, after: str, limit: int) -> list[str]:
        """Jobs that wait for the central model of this name, by id, those above `after`."""

    def listing(self, filters: Filters, after: Position, limit: int) -> list[str]:
        """Ids of jobs that pass, newest first, from behind `after` on."""

    def running_jobs(self, client_id: str, limit: int) -> list[str]:
        """Ids of a client's jobs that are under way, oldest first; those that wait are not."""

    def dead(self, after: Position, limit: int) -> list[str]:
        """Ids of dead letters that wait for a replay, newest first, from behind `after` on."""

    def states(self) -> dict[str, int]:
        """How many listed jobs are in each state."""

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Keys of rows that begin with `prefix`, in order, those above `after`."""

    def story(self, stream: str, after: int = 0, limit: int = MANY) -> list[StoredEvent]:
        """Events of a stream above the sequence `after`, oldest first."""

    def events_after(self, sequence: int, limit: int) -> list[StoredEvent]:
        """The publisher's events above `sequence`, oldest first."""

    def oldest(self, before: float, limit: int) -> list[StreamEvent]:
        """The oldest events, if committed before this time: those of `limit` runs of a story."""

    def forget_events(self, through: int) -> None:
        """Drop events up to this sequence, but never the newest: sequences are not used again.

        A run of one story goes as a whole, or stays.
        """

    def close(self) -> None: ...


def check_identity(found: JournalIdentity, wanted: JournalIdentity) -> None:
    """Invalid if the journal was initialised for another publisher, cluster, N or schema."""
    if found.schema < wanted.schema:
        older = f"the journal of {found.publisher} is of schema {found.schema}"
        raise Invalid(f"{older}: run `stillhouse state migrate`")
    if found != wanted:
        raise Invalid(f"the journal is of {found}, not of {wanted}")
