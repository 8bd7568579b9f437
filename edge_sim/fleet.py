"""All devices of a run, one EdgeHost actor a person: a kill takes down one person's devices."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import ray

from edge_sim.host import EdgeHost, Factory, Person, Standing, TestScore
from edge_sim.scenario import Device
from stillhouse.entities import Student

HOST: dict[str, Any] = {
    "num_cpus": 1,
    "max_concurrency": 4,
    "max_restarts": -1,  # a killed host comes back, and its devices go on from their disks
    "max_task_retries": -1,
}


class Fleet:
    """Devices by name, wherever they live."""

    def __init__(self, factory: Factory, people: Mapping[int, Person]) -> None:
        self._factory, self._people = factory, people
        self.hosts: dict[str, Any] = {}  # actors by name
        self._home: dict[str, Any] = {}  # of each device
        # Ray drops the large arguments of an actor once it has started, and cannot restart it then.
        self._given: list[tuple[Any, Any]] = []

    def add(self, devices: Sequence[Device]) -> None:
        """Give each person's devices a host; they enrol and declare their profiles."""
        by_person = groupby(sorted(devices, key=lambda d: d.person), lambda d: d.person)
        new = [self._host(person, tuple(group)) for person, group in by_person]
        ray.get([host.join.remote() for host in new])

    def submit(self, names: Sequence[str], central_model: str) -> None:
        ray.get([self._home[name].submit.remote(name, central_model) for name in names])

    def standings(self) -> dict[str, Standing]:
        """How far each device is; raises what stopped one."""
        found = ray.get([host.standings.remote() for host in self.hosts.values()])
        return {standing.name: standing for each in found for standing in each}

    def working(self) -> bool:
        return any(ray.get([host.working.remote() for host in self.hosts.values()]))

    def score(self, name: str, student: Student) -> TestScore:
        """The device's current student on recordings that no rule reads."""
        score: TestScore = ray.get(self._home[name].score.remote(name, student))
        return score

    def calibration_ms(self) -> dict[Student, float]:
        """What each shape takes on the first host: one recorded input of the run."""
        first = next(iter(self.hosts.values()))
        found: dict[Student, float] = ray.get(first.calibrated_ms.remote())
        return found

    def _host(self, person: int, devices: tuple[Device, ...]) -> Any:
        name = f"edge-host-{len(self.hosts)}-person-{person}"
        own = {device.name: self._people[person] for device in devices}
        given = ray.put(self._factory), ray.put(own)
        self._given.append(given)
        host = ray.remote(EdgeHost).options(name=name, **HOST).remote(given[0], devices, given[1])
        self.hosts[name] = host
        self._home.update(dict.fromkeys(own, host))
        return host
