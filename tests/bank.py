"""The smallest rule module: accounts with a balance; money moves, accounts open and close."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillhouse.decisions import Answer, Decision, Effect, Index, NotLoaded, Overlay, Request
from stillhouse.errors import Conflict, NotFound

DONE = Answer(204)
UNWRITABLE = -1  # a balance that the codec has a bug with


@dataclass(frozen=True)
class Account:
    name: str
    balance: int


@dataclass(frozen=True)
class Deposit:
    to: str
    amount: int


@dataclass(frozen=True)
class Transfer:
    source: str
    to: str
    amount: int


@dataclass(frozen=True)
class Close:
    name: str


@dataclass(frozen=True)
class Look:
    name: str


@dataclass(frozen=True)
class Stumble:
    """A command that a bug meets."""

    name: str


@dataclass(frozen=True)
class Moved:
    name: str
    amount: int


@dataclass(frozen=True)
class Closed:
    name: str


def reads(request: Request) -> frozenset[str]:
    """Of a transfer only the source: `step` asks for the other."""
    match request.command:
        case Deposit(to=name) | Transfer(source=name):
            return frozenset({name})
        case Close(name=name) | Look(name=name) | Stumble(name=name):
            return frozenset({name})
    raise AssertionError(request)


def account(rows: Mapping[str, Any], name: str) -> Account | None:
    if name not in rows:
        raise NotLoaded(name)
    found: Account | None = rows[name]
    return found


def existing(rows: Mapping[str, Any], name: str) -> Account:
    found = account(rows, name)
    if found is None:
        raise NotFound(name)
    return found


def step(rows: Mapping[str, Any], request: Request, now: float) -> Decision:
    match request.command:
        case Deposit(to, amount):
            before = account(rows, to)
            balance = amount + (before.balance if before else 0)
            effects = (Effect(to, "tell", "letter", 1),)
            answer = Answer(200, balance, {"etag": "1"})
            return decided(rows, (Moved(to, amount),), answer, effects)
        case Transfer(source, to, amount):
            if existing(rows, source).balance < amount:
                raise Conflict("not enough")
            existing(rows, to)
            return decided(rows, (Moved(source, -amount), Moved(to, amount)))
        case Close(name):
            existing(rows, name)
            return decided(rows, (Closed(name),))
        case Look(name):
            return Decision(answer=Answer(200, existing(rows, name).balance))
        case Stumble():
            raise ZeroDivisionError("a bug")
    raise AssertionError(request)


def evolve(rows: Mapping[str, Any], event: Moved | Closed) -> Mapping[str, Any]:
    if isinstance(event, Closed):
        return {event.name: None}
    before = rows[event.name]
    return {event.name: Account(event.name, event.amount + (before.balance if before else 0))}


def index(rows: Mapping[str, Any], event: Moved | Closed, into: Index) -> None:
    place = (event.name, "tell")
    if isinstance(event, Closed):
        into.outbox[place] = None
    else:
        into.outbox[place] = Effect(*place, "letter", rows[event.name].balance)


def decided(
    rows: Mapping[str, Any],
    events: tuple[Moved | Closed, ...],
    answer: Answer = DONE,
    effects: tuple[Effect, ...] = (),
) -> Decision:
    after, changes = Overlay(rows), Index()
    for event in events:
        after.update(evolve(after, event))
        index(after, event, changes)
    return Decision(events, effects, answer, dict(after), changes)


def stream(event: Moved | Closed) -> str:
    return event.name


def encode_event(event: Moved | Closed) -> bytes:
    return repr(event).encode()


def encode(row: Account) -> bytes:
    if row.balance == UNWRITABLE:
        raise ValueError(row)
    return b"%d" % row.balance


def decode(key: str, data: bytes) -> Account:
    return Account(key, int(data))
