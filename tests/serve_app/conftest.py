"""The API in this process: fresh for each test, or shared by tests that leave nothing behind."""

from collections.abc import Iterator

import anyio.from_thread
import pytest
from api_house import House, Member


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


@pytest.fixture(scope="session")
def door(portal: anyio.from_thread.BlockingPortal) -> House:
    """For tests whose every request is refused."""
    return House(portal, open_enrolment=True)


@pytest.fixture(scope="session")
def device(door: House) -> Member:
    return door.member("device")
