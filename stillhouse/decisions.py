"""What every rule module over rows has in common: commands in, a decision out.

A rule module (`shard`, `vault`) offers `reads`, `step`, `evolve`, `index`, `encode` and `decode`.
`step` decides and changes nothing it is given; `evolve` applies one event and returns the rows it
changed, `index` notes what begins and ends with it; replay runs these two alone. The actor's store
(cluster/store.py) runs them over a journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from stillhouse.entities import Entity, Principal
from stillhouse.listing import Listing


class Overlay(dict[str, Any]):
    """Rows that changed, over those below, which are never written here.

    A dictionary of its own, since a ChainMap looks every key up in Python.
    """

    __slots__ = ("below",)

    def __init__(self, below: Mapping[str, Any]) -> None:
        super().__init__()
        self.below = below

    def __missing__(self, key: str) -> Any:
        return self.below[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self.below

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


class NotLoaded(Exception):
    """`step` needs rows that `reads` did not name; nothing changed: load them and call again."""

    def __init__(self, *keys: str) -> None:
        super().__init__(*keys)
        self.keys = frozenset(keys)


@dataclass(frozen=True, slots=True)
class Request:
    """A command with who asks and the key that makes a repeat harmless.

    `key` is unique to the command: a client's nonce, or (job, attempt, kind) inside the cluster;
    empty where the rows themselves refuse a repeat, and no answer need be kept. `digest` is of the
    command's content: the same key with another digest is refused.
    """

    key: str
    digest: str
    principal: Principal
    command: Any


Place = tuple[str, str]  # (job, node)


class Effect(NamedTuple):
    """A side effect that must happen at least once: in the outbox until its result is committed."""

    job_id: str
    node: str
    kind: str
    attempt: int


class Ready(NamedTuple):
    """A node that waits for its turn on the cluster."""

    priority: int  # 0 is served most often
    client_id: str
    job_id: str
    node: str
    attempt: int  # the one that is to start


class Deadline(NamedTuple):
    """When an attempt of a job expires, or when the next one may begin."""

    at: float
    job_id: str
    node: str  # empty: the whole distillation job
    attempt: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets, HTTP status and JSON document; kept, so that a repeat gets the same."""

    status: int
    document: Any = None
    headers: Mapping[str, str] | None = None


def accepted(document: Entity | None = None, status: int = 200) -> Answer:
    return Answer(status, None if document is None else document.model_dump(mode="json"))


@dataclass(slots=True)
class Index:
    """Changes of the index tables, in the commit of the events; None ends an entry.

    Within one commit the last change of an entry counts.
    """

    outbox: dict[Place, Effect | None] = field(default_factory=dict)
    ready: dict[Place, Ready | None] = field(default_factory=dict)
    due: dict[Place, Deadline | None] = field(default_factory=dict)
    waiting: dict[str, str | None] = field(default_factory=dict)  # job -> name of a central model
    listed: dict[str, Listing] = field(default_factory=dict)  # by job
    dead: dict[str, float | None] = field(default_factory=dict)  # dead letter -> when it died

    def over(self, place: Place) -> None:
        """Nothing is to be done for this node, and nothing of it can expire."""
        self.outbox[place] = self.ready[place] = self.due[place] = None

    def update(self, later: "Index") -> None:
        for mine, others in (
            (self.outbox, later.outbox),
            (self.ready, later.ready),
            (self.due, later.due),
            (self.waiting, later.waiting),
            (self.listed, later.listed),
            (self.dead, later.dead),
        ):
            if others:
                put(mine, others)


def put(table: dict[Any, Any], changes: Mapping[Any, Any]) -> None:
    """Later entries stand behind earlier ones."""
    for key, value in changes.items():
        table.pop(key, None)
        table[key] = value


@dataclass(frozen=True, slots=True)
class Decision:
    """Events to commit with what they change, effects to start after the commit, and the answer."""

    events: tuple[Any, ...] = ()
    effects: tuple[Effect, ...] = ()
    answer: Answer = Answer(204)
    changed: Mapping[str, Any] = field(default_factory=dict)  # rows, as `evolve` made them
    index: Index = field(default_factory=Index)


class Rules(Protocol):
    """What a rule module offers; a module satisfies it as it is."""

    def reads(self, request: Request) -> frozenset[str]: ...
    def step(self, rows: Mapping[str, Any], request: Request, now: float) -> Decision: ...
    def evolve(self, rows: Mapping[str, Any], event: Any) -> Mapping[str, Any]: ...
    def index(self, rows: Mapping[str, Any], event: Any, into: Index) -> None: ...  # rows after it
    def stream(self, event: Any) -> str: ...  # whose story the event belongs to (a job, a client)
    def encode_event(self, event: Any) -> bytes: ...
    def encode(self, row: Any) -> bytes: ...
    def decode(self, key: str, data: bytes) -> Any: ...
