"""What a shard does by itself: starts what is ready, expires what is due, takes up the feed.

No Ray here: `apply` commits commands and `read` reads, so that a simulator can drive the same code.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from cluster.journal.contract import Journal
from cluster.store import Store
from stillhouse.commands import Announce, Arrive, Expire, MoveCursor, Record, Start
from stillhouse.decisions import Answer, Effect, Place, Request
from stillhouse.entities import SYSTEM
from stillhouse.errors import StillhouseError, Unavailable
from stillhouse.events import JobMoved
from stillhouse.jobs import Move
from stillhouse.rows import CURSOR
from stillhouse.schedule import Turns

PAGE = 500  # waiting jobs told of a model in one batch
EXPIRED = 1_000  # deadlines taken up in one batch


class Line(Protocol):
    """Commits commands and reads between them (cluster/pipeline.py)."""

    def apply(
        self, requests: Sequence[Request], now: float
    ) -> Sequence[Answer | StillhouseError]: ...

    def read(self, ask: Callable[[], Any]) -> Any: ...


class Desk:
    """The shard's own commands. Not for two threads at once."""

    def __init__(self, line: Line, store: Store, journal: Journal, in_flight: int) -> None:
        self._line, self._store, self._journal = line, store, journal
        self._most = in_flight
        self._begun: set[Place] = set()  # started here, but not yet told of
        self._running: set[Place] = set()  # effects without a result, as far as was told
        self._sure = True  # False: a start failed, and may have been written all the same
        self._turns = Turns()

    def resume(self) -> list[Effect]:
        """Effects without a result: those that a crash left start again."""
        effects: list[Effect] = self._line.read(self._journal.outbox)
        self._running = {(effect.job_id, effect.node) for effect in effects}
        self._sure = True
        return effects

    def note(self, events: Iterable[Any]) -> None:
        """Which effects began and ended with a commit, in the order of the commits.

        What is told may lie behind what was read: an attempt's end does not end the next one's
        turn, nor does a release that was told after the start that it led to.
        """
        for event in events:
            if isinstance(event, JobMoved):
                place = (event.job_id, event.node)
                if event.move is Move.START:
                    self._begun.discard(place)
                    self._running.add(place)
                elif event.move is not Move.RENEW:
                    self._running.discard(place)

    def start_ready(self, now: float) -> int:
        """Start what is ready, whose turn it is, as far as there is room; how many began."""
        if not self._sure:
            self.resume()
        room = self._most - len(self._begun | self._running)
        if room <= 0:
            return 0
        turns = self._line.read(lambda: self._turns.take(self._journal.ready, room))
        self._begun |= {(turn.job_id, turn.node) for turn in turns}
        starts = [own(Start(turn.job_id, turn.node, turn.attempt)) for turn in turns]
        answers = self._line.apply(starts, now) if starts else ()
        refused = [
            (turn.job_id, turn.node)
            for turn, answer in zip(turns, answers, strict=True)
            if isinstance(answer, StillhouseError)
        ]
        self._begun.difference_update(refused)
        self._sure = not any(isinstance(answer, Unavailable) for answer in answers)
        return len(starts) - len(refused)

    def expire(self, now: float) -> int:
        """Move on what is due; how many there were."""
        late = self._line.read(lambda: self._journal.due(now, EXPIRED))
        expired = [own(Expire(each.job_id, each.node, each.attempt)) for each in late]
        if expired:
            self._line.apply(expired, now)
        return len(late)

    def cursor(self) -> int:
        """How far the vault's feed has been applied."""
        row = self._line.read(lambda: self._store.rows([CURSOR]))[CURSOR]
        return row.sequence if row else 0

    def take_up(self, records: Iterable[tuple[int, Record]], now: float) -> None:
        """Records of the feed, in order: each first, then the jobs that wait for it, page by page.

        The cursor moves last: what a crash cuts short is done again, which changes nothing twice.
        """
        for sequence, record in records:
            done = self._line.apply([own(record)], now)
            if isinstance(record, Announce):
                done = [*done, *self._arrivals(record.name, now)]
            if failed := [each for each in done if isinstance(each, StillhouseError)]:
                raise failed[0]  # before the cursor moves
            self._line.apply([own(MoveCursor(sequence))], now)

    def _arrivals(self, name: str, now: float) -> Iterator[Answer | StillhouseError]:
        """Tell the jobs that wait for a model of this name, page by page."""
        last = ""
        while page := self._line.read(partial(self._journal.waiting, name, last, PAGE)):
            yield from self._line.apply([own(Arrive(id)) for id in page], now)
            last = page[-1]


def own(command: Any) -> Request:
    """A command of the shard's own: the rows refuse its repeat."""
    return Request("", "", SYSTEM, command)


def system(key: str, command: Any) -> Request:
    """A command of an effect's, with a key that its repeat has too."""
    return Request(key, key, SYSTEM, command)
