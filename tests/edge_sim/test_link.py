"""A link: bytes take as long as its bandwidth says, whoever shares it."""

import httpx2
import pytest

from edge_sim.link import Link


class Clock:
    """Time that passes when somebody sleeps."""

    now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def client(clock: Clock, bytes_per_s: float, size: int) -> httpx2.Client:
    inner = httpx2.MockTransport(lambda _: httpx2.Response(200, content=bytes(size)))
    link = Link(bytes_per_s, inner, clock=lambda: clock.now, sleep=clock.sleep)
    return httpx2.Client(transport=link)


@pytest.mark.parametrize("size", [0, 1_000, 50_000])
def test_a_body_takes_its_bytes_and_the_heads_beside_it(size: int) -> None:
    clock = Clock()
    assert len(client(clock, 1_000, size).get("http://127.0.0.1/").content) == size
    assert size / 1_000 <= clock.now - 100 < size / 1_000 + 0.5


def test_what_is_sent_takes_time_too() -> None:
    clock = Clock()
    client(clock, 1_000, 0).post("http://127.0.0.1/", content=bytes(20_000))
    assert 20 <= clock.now - 100 < 20.6


def test_a_link_that_was_idle_saves_nothing_up() -> None:
    clock = Clock()
    http = client(clock, 1_000, 10_000)
    http.get("http://127.0.0.1/")
    clock.now += 1_000
    before = clock.now
    http.get("http://127.0.0.1/")
    assert clock.now - before >= 10
