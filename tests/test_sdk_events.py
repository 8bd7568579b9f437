"""Server-sent events: however the bytes come, and however often the connection breaks."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.entities import Role
from stillhouse.errors import NotFound, Unavailable
from stillhouse.sdk import AsyncStillhouse, Stillhouse
from stillhouse.sdk.events import FAILURES, Reader, ServerSent
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import StoryEvent
from stillhouse.wire.problems import problem_of

URL = "http://127.0.0.1:1"
IDENTITY = Identity.derive(b"reader")
STREAM = (
    b": hello\n\nid: 1\nevent: a\ndata: one\n\n: alive\n\n"
    b"id: 2\r\ndata:two\r\ndata: \xc3\xa9: 2\r\n\r\n"
    b"id: 9\nevent: lost\n\ndata: three\n:in between\ndata\n\nid: 4\ndata: not whole\n"
)
EVENTS = [
    ServerSent("1", "a", "one"),
    ServerSent("2", "message", "two\né: 2"),
    ServerSent("2", "message", "three\n"),
]
END = b"event: end\ndata: {}\n\n"
LOST = httpx2.ReadError("lost")
Part = bytes | Exception


@given(st.sets(st.integers(0, len(STREAM))))
def test_any_split_of_the_bytes_gives_the_same_events(cuts: set[int]) -> None:
    reader, places = Reader(), [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    assert [event for part in parts for event in reader.feed(part)] == EVENTS
    assert reader.last_id == "2"


def story(sequence: int) -> bytes:
    event = StoryEvent(sequence=sequence, at=0.0, event="JobMoved", text="moves")
    return f"id: {sequence}\nevent: JobMoved\ndata: {event.model_dump_json()}\n\n".encode()


class Parts(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that may break off."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


class Server:
    """Gives one of `streams` to each connection, the last again and again."""

    def __init__(self, *streams: tuple[Part, ...]) -> None:
        self._streams = list(streams)
        self.asked: list[tuple[int | None, str]] = []  # port, Last-Event-ID

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append((request.url.port, request.headers["last-event-id"]))
        stream = self._streams.pop(0) if len(self._streams) > 1 else self._streams[0]
        if not stream:
            raise httpx2.ConnectError("refused")
        return httpx2.Response(200, stream=Parts(stream))


def read_sync(server: object, *endpoints: str, after: int = 0) -> list[int]:
    transport = httpx2.MockTransport(server)  # type: ignore[arg-type]
    made = Stillhouse(
        endpoints or (URL,), IDENTITY, Role.CLIENT, transport=transport, pause=lambda _: None
    )
    with made as client:
        return [event.sequence for event in client.events("job", after)]


def read_async(server: object, *endpoints: str, after: int = 0) -> list[int]:
    async def read() -> list[int]:
        transport = httpx2.MockTransport(server)  # type: ignore[arg-type]
        made = AsyncStillhouse(
            endpoints or (URL,),
            IDENTITY,
            Role.CLIENT,
            transport=transport,
            pause=lambda _: asyncio.sleep(0),
        )
        async with made as client:
            return [event.sequence async for event in client.events("job", after)]

    return asyncio.run(read())


both = pytest.mark.parametrize("read", [read_sync, read_async])


@both
def test_a_cut_story_goes_on_behind_the_last_whole_event(read) -> None:
    half = story(3)[:20]
    server = Server((story(1), story(2) + half, LOST), (), (story(3),), (story(5), END + story(6)))
    assert read(server) == [1, 2, 3, 5]
    assert [last for _, last in server.asked] == ["0", "2", "2", "3"]


@both
def test_it_begins_where_one_wants_and_each_cut_leads_to_the_next_endpoint(read) -> None:
    server = Server((story(8), LOST), (END,))
    assert read(server, URL, "http://127.0.0.1:2", after=7) == [8]
    assert server.asked == [(1, "7"), (2, "8")]


@both
@pytest.mark.parametrize("stream", [(), (LOST,), (b": alive\n\n",), (b"id: 4\n\n", LOST)])
def test_patience_ends_without_a_new_event(read, stream: tuple[Part, ...]) -> None:
    server = Server(stream)
    with pytest.raises(Unavailable, match="do not go on"):
        read(server)
    assert len(server.asked) == FAILURES


@both
def test_a_new_event_renews_patience(read) -> None:
    cuts: list[tuple[Part, ...]] = [()] * (FAILURES - 1)
    server = Server(*cuts, (story(1),), *cuts[1:], (story(2), END))
    assert read(server) == [1, 2]


@both
def test_a_refusal_is_raised_at_once(read) -> None:
    document = problem_of(NotFound("no such job")).model_dump_json().encode()
    with pytest.raises(NotFound, match="no such job"):
        read(lambda request: httpx2.Response(404, content=document))


def test_pauses_grow_and_are_bounded() -> None:
    pauses: list[float] = []
    transport = httpx2.MockTransport(Server(()))
    with (
        Stillhouse(
            [URL], IDENTITY, Role.CLIENT, transport=transport, pause=pauses.append
        ) as client,
        pytest.raises(Unavailable),
    ):
        next(client.events("job"))
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(pauses) == 2.0
    assert len(pauses) == FAILURES - 1
