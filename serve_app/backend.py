"""What the routes need of the cluster: apply a command, read rows, wait for news.

`RayBackend` speaks to the named actors. Commands that wait for one actor go in one call (the actor
commits them together); a call that a restart interrupts is repeated, which their keys make safe.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Protocol

from actors.patience import call
from actors.reading import ClientWork
from actors.settings import VAULT, ActorSettings
from stillhouse.decisions import Answer, Request
from stillhouse.entities import Principal
from stillhouse.errors import Overloaded, StillhouseError
from stillhouse.ids import shard_of
from stillhouse.listing import Filters, Position
from stillhouse.rows import DeadLetterRow, DistillationJobRow
from stillhouse.versions import NameRow
from stillhouse.wire.messages import TrustAnchors

MANY = 10_000  # events of one story at once
CALLS = 2  # of one actor at a time: one is decided while the other's commit waits for the disk
BATCH = 500  # letters in one call
MOST_WAITING = 10_000  # letters for one actor, in one replica
MOST_OF_ONE = 1_000  # of those, from one client
Letter = tuple[Any, "asyncio.Future[Any]"]
Send = Callable[[list[Any]], Awaitable[Sequence[Any]]]
POLL_S = 0.1  # how often a shard is asked who changed, while anyone waits


class Backend(Protocol):
    """The cluster, as the routes see it. `id` is any id of the client concerned."""

    anchors: TrustAnchors
    chunk_url: str
    open_jobs: int | None  # that one client may have; None: any number

    async def apply(self, id: str, request: Request) -> Answer: ...
    async def vault(self, request: Request) -> Answer: ...
    async def rows(self, id: str, keys: Sequence[str]) -> dict[str, Any]: ...
    async def work(self, client_id: str) -> ClientWork | None: ...
    async def vault_rows(self, keys: Sequence[str]) -> dict[str, Any]: ...
    async def story(
        self, id: str, after: int = 0, limit: int = MANY
    ) -> list[tuple[int, float, bytes]]: ...
    async def jobs(
        self, filters: Filters, after: Position, limit: int
    ) -> list[DistillationJobRow]: ...
    async def dead_letters(self, after: Position, limit: int) -> list[DeadLetterRow]: ...
    async def names(self, after: str, limit: int) -> list[NameRow]: ...
    async def newer(self, client_id: str, cursor: str, wait_s: float) -> str: ...
    async def build_progress(self, name: str) -> float: ...
    async def append(
        self, who: Principal, name: str, version: int, file: str, offset: int, data: bytes
    ) -> tuple[int, str | None]: ...
    async def ready(self) -> None: ...


class RayBackend:
    """The actors behind one Api replica."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self.chunk_url = settings.chunk_url
        self.open_jobs = settings.open_jobs
        self.anchors = TrustAnchors.model_validate_json(settings.public_keys.read_text())
        self._commands: dict[str, Mailbox] = {}  # by the actor's name
        self._questions: dict[str, Mailbox] = {}
        self._watches: dict[str, Watch] = {}

    async def apply(self, id: str, request: Request) -> Answer:
        return await self._apply(self._manager(id), request)

    async def vault(self, request: Request) -> Answer:
        return await self._apply(VAULT, request)

    async def rows(self, id: str, keys: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask(self._manager(id), "rows", list(keys))
        return found

    async def work(self, client_id: str) -> ClientWork | None:
        """A client's running jobs with what its device's work is made of; None for no client."""
        found: ClientWork | None = await self._ask(self._manager(client_id), "work", client_id)
        return found

    async def vault_rows(self, keys: Sequence[str]) -> dict[str, Any]:
        return await self._call(VAULT, "rows", list(keys))  # type: ignore[no-any-return]

    async def story(
        self, id: str, after: int = 0, limit: int = MANY
    ) -> list[tuple[int, float, bytes]]:
        """A job's events above a sequence, oldest first."""
        return await self._call(self._manager(id), "story", id, after, limit)  # type: ignore[no-any-return]

    async def jobs(self, filters: Filters, after: Position, limit: int) -> list[DistillationJobRow]:
        """A page of jobs, newest first: of one client's shard, or merged from all shards."""
        asked = range(self._settings.shards)
        if filters.client_id is not None:
            asked = range(shard := shard_of(filters.client_id, self._settings.shards), shard + 1)
        rows = await self._ask_all(asked, "listing", filters, after, limit)
        return sorted(rows, key=place_of, reverse=True)[:limit]

    async def dead_letters(self, after: Position, limit: int) -> list[DeadLetterRow]:
        """Dead letters of all shards that wait for a replay, newest first."""
        rows = await self._ask_all(range(self._settings.shards), "dead_letters", after, limit)
        return sorted(rows, key=died_at, reverse=True)[:limit]

    async def names(self, after: str, limit: int) -> list[NameRow]:
        """Central models by name, those behind `after`."""
        return await self._call(VAULT, "names", after, limit)  # type: ignore[no-any-return]

    async def newer(self, client_id: str, cursor: str, wait_s: float) -> str:
        """A newer cursor as soon as the client changed; after `wait_s`, the cursor then."""
        name = self._manager(client_id)
        watch = self._watches.setdefault(name, Watch(lambda at: self._ask(name, "changed", at)))
        return await watch.newer(client_id, cursor, wait_s)

    async def build_progress(self, name: str) -> float:
        return await self._call(VAULT, "progress", name)  # type: ignore[no-any-return]

    async def append(
        self, who: Principal, name: str, version: int, file: str, offset: int, data: bytes
    ) -> tuple[int, str | None]:
        arguments = (who, name, version, file, offset, data)
        return await self._call(VAULT, "append_file", *arguments)  # type: ignore[no-any-return]

    async def ready(self) -> None:
        """Unavailable unless every shard and the vault answer."""
        names = [self._settings.manager(i) for i in range(self._settings.shards)]
        await asyncio.gather(*(self._call(name, "ready") for name in (*names, VAULT)))

    async def _ask_all(self, shards: range, method: str, *arguments: Any) -> list[Any]:
        """What these shards answer, one after another's."""
        names = [self._settings.manager(shard) for shard in shards]
        pages = await asyncio.gather(*(self._call(name, method, *arguments) for name in names))
        return list(chain.from_iterable(pages))

    def _manager(self, id: str) -> str:
        return self._settings.manager(shard_of(id, self._settings.shards))

    async def _apply(self, name: str, request: Request) -> Answer:
        if name not in self._commands:
            self._commands[name] = Mailbox(lambda batch: self._call(name, "apply", batch))
        answer: Answer = await self._commands[name].post(request.principal.id, request)
        return answer

    async def _ask(self, name: str, method: str, *arguments: Any) -> Any:
        """A read of a shard; those that wait at the same time go in one call."""
        if name not in self._questions:
            self._questions[name] = Mailbox(lambda batch: self._call(name, "ask", batch))
        return await self._questions[name].post(str(arguments[0]), (method, arguments))

    async def _call(self, name: str, method: str, *arguments: Any) -> Any:
        return await call(self._settings.namespace, name, method, *arguments)


class Mailbox:
    """Letters on their way to one actor: at most two calls at a time, the rest waits its turn.

    Each call takes one letter of every sender in turn until it is full, so that a client with ten
    thousand does not hold up another's first. More than is soon taken is not let in: Overloaded.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[str, deque[Letter]] = {}  # by sender, whose turn is next comes first
        self._count = 0
        self._free = CALLS
        self._calls: set[asyncio.Task[None]] = set()  # the loop alone would let go of them

    async def post(self, sender: str, content: Any) -> Any:
        """The answer to this letter; an answer that is an error is raised."""
        line = self._waiting.get(sender, ())
        if self._count >= MOST_WAITING or len(line) >= MOST_OF_ONE:
            raise Overloaded("too many requests are waiting")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append((content, answer))
        self._count += 1
        if self._free:
            self._free -= 1
            call = asyncio.create_task(self._drain())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return await answer

    async def _drain(self) -> None:
        while batch := self._take():
            try:
                answers = await self._send([content for content, _ in batch])
            except Exception as error:  # goes to every caller of the batch
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                settle(future, answer)
        self._free += 1  # in the same step: a letter that comes now begins another call

    def _take(self) -> list[Letter]:
        batch: list[Letter] = []
        while self._waiting and len(batch) < BATCH:
            sender = next(iter(self._waiting))
            line = self._waiting.pop(sender)
            batch.append(line.popleft())
            if line:
                self._waiting[sender] = line  # behind the others
        self._count -= len(batch)
        return batch


def place_of(row: DistillationJobRow) -> Position:
    """Where a job stands in lists."""
    return Position(row.submitted_at, row.id)


def died_at(row: DeadLetterRow) -> Position:
    """Where a dead letter stands in their list."""
    return Position(row.at, row.id)


def settle(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():  # its caller has gone
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class Watch:
    """Who of a shard's clients changed: one call ten times a second, however many wait."""

    def __init__(self, changed: Any) -> None:
        self._changed = changed
        self._cursor = ""
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def newer(self, client_id: str, cursor: str, wait_s: float) -> str:
        event = asyncio.Event()
        self._waiting[client_id].add(event)  # before asking, or news in between would be lost
        try:
            now, clients = await self._changed(cursor)
            if clients is None or client_id in clients or wait_s <= 0:
                return str(now)
            self._cursor = self._cursor or str(now)
            self._task = self._task or asyncio.create_task(self._poll())
            await asyncio.wait_for(event.wait(), wait_s)
        except TimeoutError:
            return str(now)
        finally:
            self._waiting[client_id].discard(event)
            if not self._waiting[client_id]:
                del self._waiting[client_id]
        return self._cursor

    async def _poll(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(POLL_S)
                await self._look()
        finally:
            self._task, self._cursor = None, ""

    async def _look(self) -> None:
        try:
            self._cursor, clients = await self._changed(self._cursor)
        except StillhouseError:
            return  # the shard restarts; it will say that all may have changed
        for id in list(self._waiting) if clients is None else clients:
            for event in self._waiting.get(id, ()):
                event.set()
