"""What a server names as its endpoints is believed of its own host alone."""

import httpx2
import pytest

from stillhouse.wire.endpoints import Endpoints, named_by

BASE = "https://api.example.org"


def test_endpoints_of_the_same_host_are_taken_in_their_order() -> None:
    names = (f"{BASE}:2", f"{BASE}:1", BASE)
    answer = httpx2.Response(200, content=Endpoints(endpoints=names).model_dump_json())
    assert named_by(BASE, answer) == list(names)


@pytest.mark.parametrize(
    "name", ["https://example.org", "http://api.example.org", "https://api.example.org@evil.org"]
)
def test_another_host_or_a_weaker_scheme_is_not(name: str) -> None:
    answer = httpx2.Response(200, content=Endpoints(endpoints=(name,)).model_dump_json())
    assert named_by(BASE, answer) == []


@pytest.mark.parametrize(
    "answer",
    [None, httpx2.Response(404), httpx2.Response(200, content=b"<html>"), httpx2.Response(204)],
)
def test_a_server_that_does_not_say_names_none(answer: httpx2.Response | None) -> None:
    assert named_by(BASE, answer) == []
