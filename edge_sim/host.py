"""EdgeHost: an actor with several simulated devices, each an agent in a thread, over real HTTP.

It holds what a device holds, its person's private data included; nothing of it goes anywhere but
through the API. The harness may ask it to try the current student on test recordings, which no rule
ever reads.
"""

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from edge_sim.device import SimulatedWorkbench
from edge_sim.scenario import Device
from stillhouse.compress.arch import build, load_weights
from stillhouse.compress.container import FamilyGrid
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.windows import PublicWindows
from stillhouse.edge.agent import Agent
from stillhouse.edge.probe import host_calibration
from stillhouse.edge.train import accuracy
from stillhouse.edge.workbench import PrivateData
from stillhouse.entities import ArchitectureSpec, Entity, Preprocessing, Student, digest_of
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity


@dataclass(frozen=True, slots=True)
class Factory:
    """What every device of a run has from its factory."""

    url: str
    folder: Path
    seed: int
    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    public_windows: bytes
    grid: FamilyGrid = field(
        default_factory=FamilyGrid
    )  # the shapes that the host is calibrated for


@dataclass(frozen=True, slots=True)
class Person:
    """One device's private recordings as Parquet; `test` is for the harness alone."""

    train: bytes
    validation: bytes
    test: bytes


class Standing(Entity):
    """How far a device is, for whoever watches."""

    name: str
    client_id: str
    profile_id: str
    job_id: str
    doing: str
    wire_bytes: int


class TestScore(Entity):
    """Accuracy on recordings that no rule reads, with its bootstrap error."""

    accuracy: float
    accuracy_se: float


@dataclass(slots=True)
class Seat:
    """One device on this host."""

    device: Device
    agent: Agent
    profile_id: str = ""
    job_id: str = ""
    doing: str = "joining"
    thread: threading.Thread | None = None
    errors: list[BaseException] = field(default_factory=list)

    def standing(self) -> Standing:
        return Standing(
            name=self.device.name,
            client_id=self.agent.client_id,
            profile_id=self.profile_id,
            job_id=self.job_id,
            doing=self.doing,
            wire_bytes=self.agent.http.wire_bytes,
        )


def nonces(seed: int, device: Device) -> Callable[[], str]:
    """The same nonces in every run of a seed: ids, and the seeds made from them, are the same."""
    count = itertools.count()
    return lambda: digest_of([seed, device.name, next(count)])[:32]


class EdgeHost:
    """Several devices of a scenario. `calibration` is this host's, measured once at its start."""

    def __init__(
        self, factory: Factory, devices: tuple[Device, ...], people: Mapping[str, Person]
    ) -> None:
        torch.set_num_threads(1)
        students = factory.grid.shapes()
        self.calibration = host_calibration(factory.architecture, factory.preprocessing, students)
        self._factory, self._people = factory, people
        self._public = PublicWindows.from_bytes(factory.public_windows)
        self._seats = {device.name: self._seat(device) for device in devices}

    def calibrated_ms(self) -> dict[Student, float]:
        """Milliseconds of thread CPU time on this host: one recorded input of the run."""
        return self.calibration

    def join(self) -> tuple[Standing, ...]:
        """Every device enrols, and declares its profile."""
        for seat in self._seats.values():
            seat.agent.join((self._public.digest(),))
            seat.profile_id = seat.agent.declare(seat.device.profile).id
            seat.doing = "joined"
        return self.standings()

    def submit(self, name: str, central_model: str) -> Standing:
        """Submit a device's job, and let the device work until it is over."""
        seat = self._seats[name]
        seat.job_id = seat.agent.submit(central_model, seat.profile_id).id
        seat.doing = "waits"
        seat.thread = threading.Thread(target=self._work, args=(seat,), name=name, daemon=True)
        seat.thread.start()
        return seat.standing()

    def standings(self) -> tuple[Standing, ...]:
        """How far each device is; raises what stopped one."""
        for seat in self._seats.values():
            if seat.errors:
                raise seat.errors[0]
        return tuple(seat.standing() for seat in self._seats.values())

    def working(self) -> bool:
        return any(seat.thread and seat.thread.is_alive() for seat in self._seats.values())

    def score(self, name: str, student: Student) -> TestScore:
        """The device's current student on its person's test recordings."""
        seat, factory = self._seats[name], self._factory
        trained = seat.agent.disk.student(seat.profile_id)
        model = load_weights(build(factory.architecture, student), trained)
        test = Recordings.from_parquet(self._people[name].test)
        score = accuracy(model, test, factory.preprocessing, factory.seed)
        return TestScore(accuracy=score.accuracy, accuracy_se=score.se)

    def _seat(self, device: Device) -> Seat:
        identity = Identity.derive(f"{self._factory.seed} {device.name}".encode())
        person, place = self._people[device.name], self._factory.folder / device.name
        private = PrivateData(
            Recordings.from_parquet(person.train), Recordings.from_parquet(person.validation)
        )
        bench = SimulatedWorkbench(
            private, self._public, device.model, self.calibration, self._factory.seed
        )
        http = SignedClient([self._factory.url], identity, nonce=nonces(self._factory.seed, device))
        agent = Agent(http, identity, place, bench, lambda doing: self._heard(device.name, doing))
        return Seat(device, agent)

    def _heard(self, name: str, doing: str) -> None:
        self._seats[name].doing = doing

    def _work(self, seat: Seat) -> None:
        try:
            seat.agent.run()
            seat.doing = "done"
        except BaseException as error:  # a thread's error must reach who watches
            seat.errors.append(error)
        finally:
            seat.agent.http.close()
