"""Who is at work on a real deployment while its processes are killed: SDK clients, and pollers.

A client uses the SDK as it is, which repeats what has no answer; whatever reaches it as an error is
a failed request. A poller asks again and again, each time once: what it sees is the outage.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from typing import Self

from benchmarks.makers import SPEC
from stillhouse.entities import EdgeModelProfile, Role
from stillhouse.errors import StillhouseError
from stillhouse.ids import shard_of
from stillhouse.sdk import Stillhouse
from stillhouse.wire.identity import Identity

POLL_S = 0.05
PAUSE_S = 0.005  # of a client, between two requests
NOWHERE = "a-model-that-nobody-uploads"


def identities(shard: int, shards: int, role: Role = Role.CLIENT) -> Iterator[Identity]:
    """Of principals who live in this shard."""
    for number in count():
        identity = Identity.derive(b"killed %d" % number)
        if shard_of(identity.id(role), shards) == shard:
            yield identity


class Thread(ABC):
    """Does its work again and again until it is left."""

    def __init__(self, sdk: Stillhouse) -> None:
        self.sdk = sdk
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._forever, name="caller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.sdk.http.close()

    def _forever(self) -> None:
        while not self._over.is_set():
            self.once()

    @abstractmethod
    def once(self) -> None: ...


class Client(Thread):
    """Replaces its profile, submits a job, looks at it, cancels every second one."""

    def __init__(self, url: str, identity: Identity) -> None:
        super().__init__(Stillhouse([url], identity, Role.CLIENT))
        self.id = self.sdk.enrol()
        self.profile: EdgeModelProfile = self.sdk.create_profile(self.id, SPEC)
        self.submitted: list[str] = []  # ids, as far as acknowledged
        self.cancelled: list[str] = []
        self.requests = 0
        self.failed: list[str] = []

    def once(self) -> None:
        self._try(self._replace)
        self._try(self._submit)
        if self.submitted:
            self._try(lambda: self.sdk.status(self.submitted[-1]))
            if len(self.submitted) % 2:
                self._try(self._cancel)

    def _replace(self) -> None:
        old = self.profile
        self.profile = self.sdk.replace_profile(self.id, old.id, SPEC, old.revision)

    def _submit(self) -> None:
        self.submitted.append(self.sdk.submit(self.id, NOWHERE, self.profile.id).id)

    def _cancel(self) -> None:
        self.cancelled.append(self.sdk.cancel(self.submitted[-1]).id)

    def _try(self, call: Callable[[], object]) -> None:
        self.requests += 1
        try:
            call()
        except StillhouseError as error:
            self.failed.append(f"{type(error).__name__}: {error}")
        time.sleep(PAUSE_S)


class Poller(Thread):
    """Asks for one job's status every 50 ms; nothing is tried twice."""

    def __init__(self, url: str, identity: Identity) -> None:
        super().__init__(Stillhouse([url], identity, Role.CLIENT, tries=1, pause=no_pause))
        id = self.sdk.enrol()
        profile = self.sdk.create_profile(id, SPEC)
        self.job_id = self.sdk.submit(id, NOWHERE, profile.id).id
        self.answered: list[float] = [time.monotonic()]
        self.failures = 0

    def once(self) -> None:
        began = time.monotonic()
        try:
            self.sdk.status(self.job_id)
            self.answered.append(time.monotonic())
        except StillhouseError:
            self.failures += 1
        time.sleep(max(0.0, began + POLL_S - time.monotonic()))


def outage_s(answered: Sequence[float], since: float) -> float:
    """The longest time without an answer since then, beyond the pause between two polls."""
    before = [at for at in answered if at < since][-1:]
    after = [at for at in answered if at >= since]
    gaps = [later - earlier for earlier, later in pairwise([*before, *after])]
    return max(0.0, max(gaps, default=0.0) - POLL_S)


def no_pause(_: float) -> None:
    """Another try is the next poll."""
