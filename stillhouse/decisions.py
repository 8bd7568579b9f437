"""What every rule module over rows has in common: commands in, a decision out.

A rule module (`shard`, `vault`) offers `reads`, `step`, `evolve`, `index`, `encode` and `decode`.
`step` decides and changes nothing; `evolve` applies one event and returns the rows it changed;
replay runs `evolve` alone. The actor's store (cluster/store.py) runs them over a journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stillhouse.entities import Entity, Principal
from stillhouse.listing import Listing


class NotLoaded(Exception):
    """`step` needs rows that `reads` did not name; nothing changed: load them and call again."""

    def __init__(self, *keys: str) -> None:
        super().__init__(*keys)
        self.keys = frozenset(keys)


@dataclass(frozen=True, slots=True)
class Request:
    """A command with who asks and the key that makes a repeat harmless.

    `key` is unique to the command: a client's nonce, or (job, attempt, kind) inside the cluster.
    `digest` is of the command's content: the same key with another digest is refused.
    """

    key: str
    digest: str
    principal: Principal
    command: Any


@dataclass(frozen=True, slots=True)
class Effect:
    """A side effect that must happen at least once: in the outbox until its result is committed."""

    job_id: str
    node: str
    kind: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets, HTTP status and JSON document; kept, so that a repeat gets the same."""

    status: int
    document: Any = None
    headers: Mapping[str, str] | None = None


def accepted(document: Entity | None = None, status: int = 200) -> Answer:
    return Answer(status, None if document is None else document.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Decision:
    """Events to commit, side effects to start after the commit, and the answer."""

    events: tuple[Any, ...] = ()
    effects: tuple[Effect, ...] = ()
    answer: Answer = Answer(204)


@dataclass(frozen=True, slots=True)
class Index:
    """Changes of the index tables that go into the same commit as the event.

    `outbox`/`done` are effects that begin and end; `due`/`met` are (time, job, node, attempt)
    deadlines that begin and (job, node) whose deadlines end; `waiting`/`arrived` are (model name,
    job) that wait, and jobs that no longer do; `listed` are lines of the list of jobs, which take
    the place of older ones.
    """

    outbox: tuple[Effect, ...] = ()
    done: tuple[tuple[str, str], ...] = ()  # (job, node)
    due: tuple[tuple[float, str, str, int], ...] = ()
    met: tuple[tuple[str, str], ...] = ()  # (job, node)
    waiting: tuple[tuple[str, str], ...] = ()  # (model name, job)
    arrived: tuple[str, ...] = ()  # job
    listed: tuple[Listing, ...] = ()


class Rules(Protocol):
    """What a rule module offers; a module satisfies it as it is."""

    def reads(self, request: Request) -> frozenset[str]: ...
    def step(self, rows: Mapping[str, Any], request: Request, now: float) -> Decision: ...
    def evolve(self, rows: Mapping[str, Any], event: Any) -> Mapping[str, Any]: ...
    def index(self, rows: Mapping[str, Any], event: Any) -> Index: ...  # rows after the event
    def stream(self, event: Any) -> str: ...  # whose story the event belongs to (a job, a client)
    def encode_event(self, event: Any) -> bytes: ...
    def encode(self, row: Any) -> bytes: ...
    def decode(self, key: str, data: bytes) -> Any: ...
