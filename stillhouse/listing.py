"""Lists that people page through, newest first: a line a job, filters, and where a page ended."""

import base64
import binascii
from dataclasses import dataclass
from math import isfinite

from stillhouse.entities import JobState
from stillhouse.errors import Invalid

OPEN = (JobState.ACCEPTED, JobState.RUNNING)  # of a job that is not over


@dataclass(frozen=True, slots=True)
class Listing:
    """What lists filter and order by; a table of it goes into the commit of the job's event."""

    job_id: str
    submitted_at: float  # seconds since the epoch
    client_id: str
    edge_model_profile_id: str
    central_model: str  # its name
    state: str
    verdict: str | None

    def position(self) -> "Position":
        return Position(self.submitted_at, self.job_id)


@dataclass(frozen=True, slots=True)
class Filters:
    """Each must be equal, where it is given; named like the fields of `Listing`."""

    client_id: str | None = None
    edge_model_profile_id: str | None = None
    central_model: str | None = None
    state: str | None = None
    verdict: str | None = None

    def given(self) -> dict[str, str]:
        """Field and value of those that are given."""
        values = {name: getattr(self, name) for name in type(self).__slots__}
        return {name: value for name, value in values.items() if value is not None}

    def let(self, listing: Listing) -> bool:
        """Whether a line passes."""
        return all(getattr(listing, name) == value for name, value in self.given().items())


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a list: what comes after it was submitted earlier, or has a smaller id."""

    submitted_at: float
    job_id: str

    def cursor(self) -> str:
        return base64.urlsafe_b64encode(f"{self.submitted_at!r} {self.job_id}".encode()).decode()


START = Position(float("inf"), "")  # before the newest


def position_of(cursor: str | None) -> Position:
    """Where the page before ended; Invalid for what no page gave."""
    if cursor is None:
        return START
    try:
        at, _, job_id = base64.urlsafe_b64decode(cursor.encode()).decode("ascii").partition(" ")
        if not isfinite(float(at)):
            raise ValueError(at)
        return Position(float(at), job_id)
    except (binascii.Error, ValueError):
        raise Invalid("cursor: give back what the page before gave as next_cursor") from None
