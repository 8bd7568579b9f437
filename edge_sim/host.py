"""EdgeHost: an actor with several simulated devices, each an agent in a thread, over real HTTP.

It holds what a device holds, its person's private data included; nothing of it goes anywhere but
through the API. The harness may ask it to try the current student on test recordings, which no rule
ever reads. Killed, it comes back with the same devices, and each goes on from its disk.
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from edge_sim.device import SimulatedWorkbench
from edge_sim.link import Link
from edge_sim.scenario import Device
from edge_sim.seat import DeviceClient, Nonces, Received, Seat, remembered
from stillhouse.compress.arch import build, load_weights
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.windows import PublicWindows
from stillhouse.edge.agent import Agent
from stillhouse.edge.probe import host_calibration
from stillhouse.edge.train import accuracy
from stillhouse.edge.workbench import PrivateData
from stillhouse.entities import ArchitectureSpec, Entity, FamilyGrid, Preprocessing, Role, Student
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
    chunks_sent_again: int = 0


class TestScore(Entity):
    """Accuracy on recordings that no rule reads, with its bootstrap error."""

    accuracy: float
    accuracy_se: float


class Heard(Entity):
    """What a host's devices did since its process began, in order: (client, what)."""

    pid: int
    news: tuple[tuple[str, str], ...]


class HostTimes(Entity):
    """What each shape takes on a host: one recorded input of a run."""

    ms: tuple[tuple[Student, float], ...]


class EdgeHost:
    """Several devices of a scenario. All hosts of a run share the calibration of the first."""

    def __init__(
        self, factory: Factory, devices: tuple[Device, ...], people: Mapping[str, Person]
    ) -> None:
        torch.set_num_threads(1)
        self.calibration = calibrated(factory)
        self._factory, self._people = factory, people
        self._public = PublicWindows.from_bytes(factory.public_windows)
        self._news: list[tuple[str, str]] = []
        self._seats = {device.name: self._seat(device) for device in devices}
        for seat in self._seats.values():
            if seat.memory.job_id:  # this process was killed: the device goes on
                self._start(seat)

    def ready(self) -> int:
        """Answers once the devices are there; this process's id, for whoever kills it."""
        return os.getpid()

    def heard(self) -> Heard:
        return Heard(pid=os.getpid(), news=tuple(self._news))

    def calibrated_ms(self) -> dict[Student, float]:
        """Milliseconds of thread CPU time on this host: one recorded input of the run."""
        return self.calibration

    def join(self) -> tuple[Standing, ...]:
        """Every device enrols, and declares its profile."""
        for seat in self._seats.values():
            seat.join((self._public.digest(),))
            seat.declare()
            seat.doing = "joined"
        return self.standings()

    def submit(self, name: str, central_model: str) -> Standing:
        """Submit a device's one job, and let the device work until it is over."""
        seat = self._seats[name]
        seat.join((self._public.digest(),))
        seat.submit(central_model)
        if seat.thread is None:
            self._start(seat)
        return standing(seat)

    def standings(self) -> tuple[Standing, ...]:
        """How far each device is; raises what stopped one."""
        for seat in self._seats.values():
            if seat.errors:
                raise seat.errors[0]
        return tuple(standing(seat) for seat in self._seats.values())

    def working(self) -> bool:
        return any(seat.thread and seat.thread.is_alive() for seat in self._seats.values())

    def score(self, name: str, student: Student) -> TestScore:
        """The device's current student on its person's test recordings."""
        seat, factory = self._seats[name], self._factory
        trained = seat.agent.disk.student(seat.memory.profile_id)
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
        file = place / "seat.json"
        memory, received = remembered(file), Received(place / "received")
        nonces = Nonces(self._factory.seed, device.name, memory.starts)
        link = Link(device.model.bandwidth_bytes_per_s)
        http = DeviceClient([self._factory.url], identity, received, nonce=nonces, transport=link)
        http.wire_bytes = memory.wire_bytes
        agent = Agent(http, identity, place, bench, lambda doing: self._heard(device.name, doing))
        seat = Seat(device, identity, agent, nonces, received, file, memory)
        seat.keep()
        return seat

    def _heard(self, name: str, doing: str) -> None:
        seat = self._seats[name]
        seat.hear(doing)
        self._news.append((seat.identity.id(Role.CLIENT), doing))

    def _start(self, seat: Seat) -> None:
        seat.doing = "waits"
        name = seat.device.name
        seat.thread = threading.Thread(target=self._work, args=(seat,), name=name, daemon=True)
        seat.thread.start()

    def _work(self, seat: Seat) -> None:
        try:
            seat.join((self._public.digest(),))
            seat.agent.run()
            seat.doing = "done"
        except BaseException as error:  # a thread's error must reach who watches
            seat.errors.append(error)
        finally:
            seat.keep()
            seat.agent.close()


def standing(seat: Seat) -> Standing:
    """How far the device is."""
    return Standing(
        name=seat.device.name,
        client_id=seat.identity.id(Role.CLIENT),
        profile_id=seat.memory.profile_id,
        job_id=seat.memory.job_id,
        doing=seat.doing,
        wire_bytes=seat.agent.wire_bytes,
        chunks_sent_again=seat.received.again(),
    )


def calibrated(factory: Factory) -> dict[Student, float]:
    """What the run's first host measured; read by the others, and by itself after a kill."""
    file = factory.folder / "calibration.json"
    if not file.exists():
        students = factory.grid.shapes()
        found = host_calibration(factory.architecture, factory.preprocessing, students)
        factory.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = factory.folder / f"calibration.{os.getpid()}"
        draft.write_text(HostTimes(ms=tuple(found.items())).model_dump_json())
        with suppress(FileExistsError):  # another host was first
            file.hardlink_to(draft)
        draft.unlink()
    return dict(HostTimes.model_validate_json(file.read_bytes()).ms)
