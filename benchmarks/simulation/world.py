"""The world in which a story happens: shards, devices, tasks, the feed, one clock, one network."""

from collections.abc import Callable
from functools import partial

from actors.reading import Order
from benchmarks.simulation.cast import BEGIN, CLIENTS, SHARDS, fresh_volume
from benchmarks.simulation.devices import Device
from benchmarks.simulation.disk import Crash, Faults
from benchmarks.simulation.feed import Feed
from benchmarks.simulation.ledger import Ledger
from benchmarks.simulation.process import Outcome, Parts, Process, Surroundings
from benchmarks.simulation.tasks import Task
from benchmarks.simulation.witness import Witness, must
from stillhouse.commands import Arrive, Expire, Start
from stillhouse.decisions import Answer, Effect, Request

MANNERS = (
    *["through"] * 14,
    "posted",  # decided on; the commit comes later
    "posted",
    "lost",  # on the way there
    "unheard",  # the answer is lost on the way back
    "doubled",
    "delayed",
    "echoed",  # a copy comes later
)
Hear = Callable[[Request, Outcome], None]
MOST_STAGES = 500
OWN_KEPT = 8  # accepted commands of the shard's own that may come again, late


class Site:
    """One shard: a disk that stays, processes that come and go, tasks that outlive them."""

    def __init__(self, world: "World", index: int) -> None:
        self.world, self.index = world, index
        self.volume, self.faults = fresh_volume(index), Faults()
        self.witness = Witness(self.volume, world.feed.until)
        self.ledger = Ledger(self.witness)
        self.tasks: list[Task] = []
        self.late: list[tuple[Request, Hear]] = []
        self.own: list[Request] = []
        self.crowd = self.crashes = self.restarts = 0
        self.cursed = False  # the next effect that ends fails, and its every attempt
        self.process = self._new()

    def _new(self) -> Process:
        around = Surroundings(
            now=lambda: self.world.now,
            written=self.witness.written,
            answered=self._own_answered,
            started=self._started,
            meanwhile=self._meanwhile,
        )
        return Process(self.index, self.volume, self.faults, around, self.world.parts)

    def guarded(self, act: Callable[[], None]) -> None:
        """Act, until a crash or another writer ends the process; then the next one starts."""
        try:
            act()
        except Crash:
            self.crashes += 1
            self.world.say(f"   shard {self.index} crashes")
            self.restart()

    def restart(self) -> None:
        """Open the journal again, which fences whoever had it; nothing acknowledged is lost."""
        self.restarts += 1
        self.ledger.check()
        self.process = self._new()
        self.guarded(self.through)

    def through(self) -> None:
        """Let everything on its way come to its end."""
        to_the_end(self.process)
        if not self.process.unsure:
            desk, running = self.process.desk, set(self.volume.outbox)
            known = desk._running == running and not desk._begun
            must(known, "the desk knows what runs", self.index)

    def post(self, request: Request, hear: Hear) -> None:
        self.process.line.post([request], partial(self._answered, hear), self.world.now)

    def send(self, request: Request, hear: Hear, manner: str) -> None:
        """What the network makes of a request and of its answer."""
        if manner in ("delayed", "echoed"):
            self.late.append((request, hear))
        if manner in ("lost", "delayed"):
            return
        self.post(request, nobody if manner == "unheard" else hear)
        if manner == "doubled":
            self.post(request, hear)
        if manner != "posted":
            self.through()

    def _answered(self, hear: Hear, request: Request, outcome: Outcome) -> None:
        self.ledger.note(request, outcome)
        if self.world.narrates:
            self.world.say(f"   shard {self.index} answers {asked(request)}: {shortly(outcome)}")
        hear(request, outcome)

    def _own_answered(self, request: Request, outcome: Outcome) -> None:
        if isinstance(outcome, Answer) and isinstance(request.command, Start | Expire | Arrive):
            self.own = [*self.own[-OWN_KEPT:], request]
        self._answered(nobody, request, outcome)

    def _started(self, effect: Effect, read: Order) -> None:
        self.tasks.append(Task(effect, read, self.world.seed))

    def _meanwhile(self) -> None:
        if self.crowd and self.late:
            self.crowd -= 1
            self.post(*self.late.pop(0))


class World:
    """Steps happen to it one by one (`steps.py`)."""

    def __init__(self, seed: int, parts: Parts, narrates: bool = False) -> None:
        self.seed, self.parts, self.narrates = seed, parts, narrates
        self.now = BEGIN
        self.feed = Feed()
        if seed % 4:
            self.feed.publish(0)
        self.sites = [Site(self, index) for index in range(SHARDS)]
        self.devices = [Device(who) for who in CLIENTS]
        self.told: list[str] = []

    def say(self, what: str) -> None:
        if self.narrates:
            self.told.append(what)


def to_the_end(process: Process) -> None:
    """Until nothing is on its way; nothing may chase its own tail."""
    for _ in range(MOST_STAGES):
        if not process.advance():
            return
    must(False, "it comes to rest")


def nobody(request: Request, outcome: Outcome) -> None:
    """Nobody hears the answer."""


def asked(request: Request) -> str:
    command = request.command
    names = ("job_id", "node", "index", "attempt", "delivery_id", "sequence", "name", "letter_id")
    given = (str(getattr(command, name)) for name in names if hasattr(command, name))
    return " ".join((type(command).__name__, *given))


def shortly(outcome: Outcome) -> str:
    return f"{type(outcome).__name__} {outcome}"[:100]
