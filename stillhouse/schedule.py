"""How long things may take and how often they are tried: leases, deadlines, attempts.

A device may be offline for days: its leases only move the attempt on, and the distillation job's
own deadline ends it. The cluster's effects are tried a bounded number of times, with pauses that
grow; what failed for good is a dead letter, and an operator's replay gives it as many tries again.
"""

from collections.abc import Callable

from stillhouse.decisions import Ready
from stillhouse.entities import Priority
from stillhouse.jobs import ON_CLUSTER, Job, Move

MAX_ATTEMPTS = 4  # of an effect of the cluster, until it is a dead letter
FIRST_PAUSE_S = 1.0  # before the second attempt; each further pause is PAUSE_GROWTH times as long
PAUSE_GROWTH = 4.0
CLUSTER_LEASE_S = 900.0  # an effect without a result by then is started again
DEVICE_LEASE_S = 3600.0  # without progress; every progress report renews it
DELIVERY_LIFETIME_S = 7 * 86400.0  # of a manifest
MAX_ROUNDS = 8
FOLLOW_UP_S = 86400.0  # of a profile: at most one job that a metric opens in that time


def lease_s(job: Job) -> float:
    """Seconds without progress after which the attempt moves on."""
    return CLUSTER_LEASE_S if job.kind in ON_CLUSTER else DEVICE_LEASE_S


def after_failure(job: Job) -> Move:
    """RETRY or FAIL: devices until the deadline, the cluster's effects MAX_ATTEMPTS times."""
    if job.kind in ON_CLUSTER and job.attempt % MAX_ATTEMPTS == 0:
        return Move.FAIL
    return Move.RETRY


def pause_s(job: Job) -> float:
    """Seconds between a failed attempt and the next: 1, 4, 16."""
    return FIRST_PAUSE_S * PAUSE_GROWTH ** ((job.attempt - 1) % MAX_ATTEMPTS)


TURN = {priority: turn for turn, priority in enumerate(Priority)}  # how the index orders them
BEATS = (0, 1, 0, 2, 0, 1, 0)  # of seven turns high gets four, normal two, low one: none starves


class Turns:
    """Whose effect starts next: by weighted priority, and in each priority round the clients.

    A client with ten thousand ready jobs has one turn a round, as every other: effects cost about
    the same, so a round robin is fair without counting.
    """

    def __init__(self) -> None:
        self._beat = 0
        self._last = dict.fromkeys(BEATS, "")  # whose turn it was, by priority

    def take(self, first_after: Callable[[int, str], Ready | None], most: int) -> list[Ready]:
        """At most one of each client; `first_after` finds a priority's next client in order."""
        taken: dict[tuple[int, str], Ready] = {}
        while len(taken) < most and (found := self._next(first_after, taken)):
            taken[found.priority, found.client_id] = found
        return list(taken.values())

    def _next(
        self,
        first_after: Callable[[int, str], Ready | None],
        taken: dict[tuple[int, str], Ready],
    ) -> Ready | None:
        for _ in BEATS:
            priority = BEATS[self._beat % len(BEATS)]
            self._beat += 1
            last = self._last[priority]
            found = first_after(priority, last) or first_after(priority, "")
            if found and (priority, found.client_id) not in taken:
                self._last[priority] = found.client_id
                return found
        return None
