"""A seat: one device's place on a host, and what of its session outlives a kill.

Chunks, acks and students are on the agent's own disk. Beside them stand the profile that was
declared, the job that was submitted, and every connection that brought bytes of a chunk.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from edge_sim.scenario import Device
from stillhouse.edge.agent import Agent
from stillhouse.edge.slots import write
from stillhouse.entities import Entity, digest_of
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity


class Memory(Entity):
    """Of a device's session. `wire_bytes` is as of its last work: a kill costs the rest."""

    starts: int = 0
    profile_id: str = ""
    job_id: str = ""
    wire_bytes: int = 0


class Nonces:
    """The same nonces in every run of a seed: ids, and the seeds made from them, are the same.

    A restarted device reuses none for another command; what it may say twice has one of its own.
    """

    def __init__(self, seed: int, name: str, start: int) -> None:
        self._seed, self._name, self._start = seed, name, start
        self._count = 0
        self._purpose = ""
        self._lock = threading.Lock()  # a device has two threads

    def next_is_for(self, purpose: str) -> None:
        self._purpose = purpose

    def __call__(self) -> str:
        with self._lock:
            purpose, self._purpose = self._purpose, ""
            self._count += not purpose
            place = purpose or [self._start, self._count]
        return digest_of([self._seed, self._name, place])[:32]


class Received:
    """A line for each connection that brought bytes of a chunk; it outlives the process."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, chunk: str) -> None:
        with self._file.open("a") as out:
            out.write(f"{chunk}\n")

    def again(self) -> int:
        """How many of them brought a chunk, or a part of it, once more."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return len(lines) - len(set(lines))


class DeviceClient(SignedClient):
    """A device's client that keeps count of what it was sent."""

    def __init__(
        self,
        endpoints: list[str],
        identity: Identity,
        received: Received,
        *,
        nonce: Callable[[], str],
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(endpoints, identity, nonce=nonce, transport=transport)
        self._received = received

    @contextmanager
    def stream(
        self, base: str, path: str, query: str, headers: dict[str, str] | None = None
    ) -> Iterator[Iterator[bytes]]:
        with super().stream(base, path, query, headers) as parts:
            yield self._noted(path, parts)

    def _noted(self, path: str, parts: Iterator[bytes]) -> Iterator[bytes]:
        for count, part in enumerate(parts):
            if count == 0:
                self._received.note(path)
            yield part


@dataclass(slots=True)
class Seat:
    """One device on a host."""

    device: Device
    identity: Identity
    agent: Agent
    nonces: Nonces
    received: Received
    file: Path
    memory: Memory
    doing: str = "joining"
    thread: threading.Thread | None = None
    errors: list[BaseException] = field(default_factory=list)
    joining: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, **changes: object) -> None:
        """Remember something, durably."""
        fresh = {"wire_bytes": self.agent.wire_bytes, **changes}
        self.memory = self.memory.model_copy(update=fresh)
        write(self.file, self.memory.model_dump_json().encode())

    def hear(self, doing: str) -> None:
        self.doing = doing
        self.keep()

    def join(self, holdings: tuple[str, ...]) -> None:
        """Enrol if this process has not: the same identity joins again."""
        with self.joining:
            if not self.agent.http.key_id:
                self.agent.join(holdings)

    def declare(self) -> None:
        """The profile, once whatever is killed in between."""
        if not self.memory.profile_id:
            self.nonces.next_is_for("profile")
            self.keep(profile_id=self.agent.declare(self.device.profile).id)

    def submit(self, central_model: str) -> None:
        """The job, once whatever is killed in between."""
        if not self.memory.job_id:
            self.nonces.next_is_for("job")
            self.keep(job_id=self.agent.submit(central_model, self.memory.profile_id).id)


def remembered(file: Path) -> Memory:
    """What the last process of this device left; one more start."""
    found = Memory.model_validate_json(file.read_bytes()) if file.exists() else Memory()
    return found.model_copy(update={"starts": found.starts + 1})
