"""Commands that wait for one actor travel together; whoever waits for news hears it, or nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from serve_app.backend import BATCH, MOST_OF_ONE, Mailbox, Watch
from stillhouse.decisions import Answer, Request
from stillhouse.entities import Principal, Role
from stillhouse.errors import Conflict, Overloaded, StillhouseError, Unavailable


def request(name: str, client: str = "someone") -> Request:
    return Request(name, name, Principal(id=client, role=Role.CLIENT), None)


def letter(name: str, client: str = "someone") -> tuple[str, Request]:
    return client, request(name, client)


class Actor:
    """Answers each request by its key, when it is let; remembers what came in one call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[list[str]] = []
        self.free = asyncio.Event()
        self._error = error

    async def apply(self, batch: Sequence[Request]) -> list[Answer | StillhouseError]:
        self.calls.append([each.key for each in batch])
        await self.free.wait()
        if self._error is not None:
            raise self._error
        return [
            Conflict(each.key) if each.key == "bad" else Answer(200, each.key) for each in batch
        ]


async def settled(*waiting: Any) -> list[Any]:
    return list(await asyncio.gather(*waiting, return_exceptions=True))


def test_two_calls_are_in_flight_and_all_that_waits_goes_in_the_next() -> None:
    async def scene() -> tuple[list[list[str]], list[Any]]:
        actor = Actor()
        mailbox = Mailbox(actor.apply)
        waiting = []
        for name in ("first", "second", *"abc"):
            waiting.append(asyncio.create_task(mailbox.post(*letter(name))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        actor.free.set()
        return actor.calls, await settled(*waiting)

    calls, answers = asyncio.run(scene())
    assert calls == [["first"], ["second"], ["a", "b", "c"]]
    assert [answer.document for answer in answers] == ["first", "second", "a", "b", "c"]


def test_a_call_takes_one_of_each_client_in_turn_until_it_is_full() -> None:
    async def scene() -> list[list[str]]:
        actor = Actor()
        mailbox = Mailbox(actor.apply)
        greedy = [asyncio.create_task(mailbox.post(*letter("held")))]
        await asyncio.sleep(0)
        greedy.append(asyncio.create_task(mailbox.post(*letter("held, too"))))
        await asyncio.sleep(0)
        greedy += [
            asyncio.create_task(mailbox.post(*letter(f"greedy-{n}", "greedy")))
            for n in range(BATCH + 1)
        ]
        await asyncio.sleep(0)
        late = asyncio.create_task(mailbox.post(*letter("late", "late")))
        await asyncio.sleep(0)
        actor.free.set()
        await settled(*greedy, late)
        return actor.calls

    calls = asyncio.run(scene())
    assert "late" in calls[2][:2]
    assert [len(call) for call in calls] == [1, 1, BATCH, 2]


def test_more_than_is_soon_taken_is_not_let_in_and_another_client_still_is() -> None:
    async def scene() -> tuple[list[Any], Any]:
        actor = Actor()
        mailbox = Mailbox(actor.apply)
        many = [
            asyncio.create_task(mailbox.post(*letter(f"{n}", "greedy")))
            for n in range(MOST_OF_ONE + BATCH)
        ]
        await asyncio.sleep(0)
        other = asyncio.create_task(mailbox.post(*letter("other", "other")))
        await asyncio.sleep(0)
        actor.free.set()
        return await settled(*many), await other

    answers, other = asyncio.run(scene())
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert 0 < len(refused) <= BATCH
    assert len(answers) - len(refused) >= MOST_OF_ONE
    assert other == Answer(200, "other")


def test_a_letter_that_comes_as_the_last_call_ends_is_sent_too() -> None:
    async def scene() -> list[Any]:
        actor = Actor()
        actor.free.set()
        mailbox = Mailbox(actor.apply)

        async def one_after_another(name: str) -> list[Any]:
            return [await mailbox.post(*letter(f"{name}-{number}")) for number in range(3)]

        both = asyncio.gather(one_after_another("a"), one_after_another("b"))
        return [answer.document for each in await asyncio.wait_for(both, 10) for answer in each]

    assert asyncio.run(scene()) == [f"{name}-{number}" for name in "ab" for number in range(3)]


def test_a_refusal_is_its_callers_alone() -> None:
    async def scene() -> list[Any]:
        actor = Actor()
        actor.free.set()
        mailbox = Mailbox(actor.apply)
        return await settled(*(mailbox.post(*letter(name)) for name in ("good", "bad", "fine")))

    good, bad, fine = asyncio.run(scene())
    assert (good.document, fine.document) == ("good", "fine")
    assert isinstance(bad, Conflict)


def test_a_call_that_fails_fails_for_all_and_the_next_one_starts_anew() -> None:
    async def scene() -> tuple[list[Any], list[list[str]]]:
        actor = Actor(Unavailable("away"))
        actor.free.set()
        mailbox = Mailbox(actor.apply)
        first = await settled(mailbox.post(*letter("a")), mailbox.post(*letter("b")))
        return first + await settled(mailbox.post(*letter("c"))), actor.calls

    answers, calls = asyncio.run(scene())
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert calls == [["a", "b"], ["c"]]


def test_a_caller_that_has_gone_does_not_disturb_the_others() -> None:
    async def scene() -> Any:
        actor = Actor()
        mailbox = Mailbox(actor.apply)
        gone = asyncio.create_task(mailbox.post(*letter("gone")))
        stays = asyncio.create_task(mailbox.post(*letter("stays")))
        await asyncio.sleep(0)
        gone.cancel()
        actor.free.set()
        return await stays

    assert asyncio.run(scene()).document == "stays"


class Shard:
    """Clients that change, one after the other; a restart forgets which."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.born = "a"
        self.asked = 0
        self.away = False

    async def changed(self, cursor: str) -> tuple[str, tuple[str, ...] | None]:
        self.asked += 1
        if self.away:
            raise Unavailable("restarting")
        born, _, sequence = cursor.partition("-")
        now = f"{self.born}-{len(self.log)}"
        return now, tuple(set(self.log[int(sequence) :])) if born == self.born else None


def test_an_unknown_cursor_is_answered_at_once() -> None:
    shard = Shard()
    assert asyncio.run(Watch(shard.changed).newer("me", "", 30)) == "a-0"
    assert shard.asked == 1


def test_what_changed_since_the_cursor_is_answered_at_once() -> None:
    shard = Shard()
    shard.log = ["other", "me"]
    assert asyncio.run(Watch(shard.changed).newer("me", "a-1", 30)) == "a-2"


def test_only_who_changed_hears_of_it() -> None:
    async def scene() -> tuple[str, bool]:
        shard = Shard()
        watch = Watch(shard.changed)
        mine = asyncio.create_task(watch.newer("me", "a-0", 30))
        others = asyncio.create_task(watch.newer("other", "a-0", 30))
        await asyncio.sleep(0.01)
        shard.log.append("me")
        cursor = await mine
        quiet = not others.done()
        others.cancel()
        return cursor, quiet

    assert asyncio.run(scene()) == ("a-1", True)


def test_news_between_the_question_and_the_wait_are_not_lost() -> None:
    async def scene() -> str:
        shard = Shard()

        async def slowly(cursor: str) -> tuple[str, tuple[str, ...] | None]:
            answer = await shard.changed(cursor)
            if shard.asked == 2:  # the second waiter's question: news arrive behind its answer
                shard.log.append("me")
                await asyncio.sleep(0.3)  # and the others' poll sees them first
            return answer

        watch = Watch(slowly)
        other = asyncio.create_task(watch.newer("other", "a-0", 30))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cursor = await watch.newer("me", "a-0", 30)
        other.cancel()
        return cursor

    assert asyncio.run(asyncio.wait_for(scene(), 10)) == "a-1"


def test_a_restart_wakes_everybody() -> None:
    async def scene() -> list[str]:
        shard = Shard()
        watch = Watch(shard.changed)
        waiting = [asyncio.create_task(watch.newer(name, "a-0", 30)) for name in ("me", "other")]
        await asyncio.sleep(0.01)
        shard.away = True
        await asyncio.sleep(0.15)
        shard.away, shard.born = False, "b"
        return await asyncio.gather(*waiting)

    assert asyncio.run(scene()) == ["b-0", "b-0"]


def test_a_shard_is_asked_only_while_someone_waits_and_once_for_all() -> None:
    async def scene() -> tuple[int, int]:
        shard = Shard()
        watch = Watch(shard.changed)
        waiting = [watch.newer(f"client {i}", "a-0", 0.35) for i in range(50)]
        cursors = await asyncio.gather(*waiting)
        assert set(cursors) == {"a-0"}
        await asyncio.sleep(0.15)
        asked = shard.asked
        await asyncio.sleep(0.3)
        return asked - 50, shard.asked - asked

    polls, later = asyncio.run(scene())
    assert 1 <= polls <= 5
    assert later == 0


def test_a_wait_that_fails_leaves_nobody_waiting() -> None:
    shard = Shard()
    shard.away = True
    watch = Watch(shard.changed)
    with pytest.raises(Unavailable):
        asyncio.run(watch.newer("me", "a-0", 30))
    assert not watch._waiting
