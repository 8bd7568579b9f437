"""A fresh API for each test, in this process."""

from collections.abc import Iterator

import anyio.from_thread
import pytest
from api_house import House


@pytest.fixture(scope="session")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def house(portal: anyio.from_thread.BlockingPortal) -> House:
    return House(portal, open_enrolment=True)


@pytest.fixture
def closed_house(portal: anyio.from_thread.BlockingPortal) -> House:
    return House(portal, open_enrolment=False)
