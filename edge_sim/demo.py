"""The demo: an owner, people, their devices; everything over the real API, start to verdict."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from edge_sim.baselines import Baseline, Case
from edge_sim.cache import Cache
from edge_sim.chaos import Chaos, Kill, Victim, plan
from edge_sim.comparison import Comparison
from edge_sim.deployment import Deployment, deployment
from edge_sim.fleet import Fleet
from edge_sim.host import Factory, Person, Standing
from edge_sim.live import Live, Row
from edge_sim.report import JobReport, Report, job_report
from edge_sim.scenario import Device, Scenario
from edge_sim.wrist import data, owner
from stillhouse.compress.recordings import Recordings
from stillhouse.entities import CentralModelSpec, FamilyGrid, Role, Student, VerdictKind
from stillhouse.limits import with_limits
from stillhouse.sdk import Stillhouse, Version
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import JobStatus

POLL_S = 0.5
BUILD_TIMEOUT_S = 900.0


def play(scenario: Scenario, folder: Path, live: Live, chaos_seed: int | None = None) -> Report:
    """Run the scenario, on a cluster of its own unless one is there; what came of it.

    With `chaos_seed` one process of each kind is killed on the way.
    """
    started = time.monotonic()
    cache = Cache(folder / "cache")
    keep = partial(cache.keep, "central model")
    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(
            owner.prepare, scenario.seed, live.training, scenario.central_epochs, keep
        )
        live.stage("starting the cluster")
        with deployment(folder, scenario.grid or FamilyGrid()) as there:
            live.stage(f"the API listens at {there.url}")
            session = Session(scenario, there, live, cache, chaos_seed)
            jobs = session.run(trained)
            central_bytes = session.version.size_bytes
    return Report(
        wall_s=time.monotonic() - started,
        seed=scenario.seed,
        reused=tuple(cache.reused),
        central_model_bytes=central_bytes,
        jobs=jobs,
        kills=session.kills,
        missed=session.missed,
    )


class Session:
    """One run: people's devices on one side of the API, the owner and an operator on the other."""

    version: Version
    kills: tuple[Kill, ...] = ()
    missed: tuple[Victim, ...] = ()

    def __init__(
        self,
        scenario: Scenario,
        there: Deployment,
        live: Live,
        cache: Cache,
        chaos_seed: int | None,
    ) -> None:
        self._chaos_seed = chaos_seed
        self._scenario, self._there, self._live, self._cache = scenario, there, live, cache
        self._devices = list(scenario.devices)
        self._people = people(scenario)
        self._fleet = Fleet(factory(scenario, there), self._people)
        self._operator = Stillhouse([there.url], Identity.derive(b"operator"), Role.OPERATOR)

    def run(self, trained: "Future[owner.Registration]") -> tuple[JobReport, ...]:
        """Devices join, the owner registers, jobs run until each has ended; then the offers."""
        self._operator.enrol()
        self._fleet.add(self._devices)
        with self._chaos() as chaos:
            registration, statuses = self._loop(trained)
        self.kills, self.missed = chaos.kills, chaos.missed
        return self._reports(statuses, registration)

    def _chaos(self) -> Chaos:
        seed, wiring, app = self._chaos_seed, self._there.wiring, self._there.settings.namespace
        planned = () if seed is None else plan(seed, len(self._devices))
        return Chaos(planned, wiring, self._fleet.hosts, app)

    def _loop(
        self, trained: "Future[owner.Registration]"
    ) -> "tuple[owner.Registration, dict[str, JobStatus]]":
        self._submit("before_model")
        self._live.stage("training the central model at its owner")
        registration = trained.result()
        self.version = self._register(registration)
        self._submit("after_model")
        self._live.stage("distilling")
        statuses = self._watch()
        if offers := [offer for d in self._devices if (offer := offered(d, statuses[d.name]))]:
            self._live.stage("trying the counter-offers")
            self._devices += offers
            self._fleet.add(offers)
            self._fleet.submit([each.name for each in offers], self._scenario.central_model)
            statuses = self._watch()
        return registration, statuses

    def _submit(self, when: str) -> None:
        chosen = [device.name for device in self._devices if device.submit == when]
        self._fleet.submit(chosen, self._scenario.central_model)

    def _register(self, registration: owner.Registration) -> Version:
        """The owner uploads; the system measures, builds the family, and announces the version."""
        self._live.stage("uploading the central model, sealed")
        identity = Identity.derive(f"owner {self._scenario.seed}".encode())
        with Stillhouse([self._there.url], identity, Role.OWNER) as client:
            client.enrol()
            spec = CentralModelSpec(
                architecture=registration.architecture,
                preprocessing=registration.preprocessing,
                labels=registration.labels,
                files={},
            )
            name = self._scenario.central_model
            version = client.register(name, spec, registration.files())
            self._live.stage("measuring the central model, building its family")
            version = client.wait_available(version, BUILD_TIMEOUT_S, self._live.building)
        if version.family_reused:
            self._cache.reused.append("family")
        return version

    def _watch(self) -> dict[str, JobStatus]:
        """Until every device has nothing left to do; where each job then stands."""
        while True:
            working = self._fleet.working()
            standings = self._fleet.standings()
            statuses = {
                name: self._operator.status(standing.job_id)
                for name, standing in standings.items()
                if standing.job_id
            }
            self._live.jobs([row(standings[name], status) for name, status in statuses.items()])
            if not working:
                return statuses
            time.sleep(POLL_S)

    def _reports(
        self, statuses: Mapping[str, JobStatus], registration: owner.Registration
    ) -> tuple[JobReport, ...]:
        """One row a job; the harness alone reads test recordings."""
        standings = self._fleet.standings()
        self._live.stage("comparing with what else could have been done")
        baselines = self._baselines(statuses) if self._scenario.baselines else {}
        oracles = {
            number: owner.oracle(registration, Recordings.from_parquet(person.test)).accuracy
            for number, person in self._people.items()
        }

        def one(device: Device) -> JobReport:
            status = statuses[device.name]
            last = status.metrics[-1] if status.metrics else None
            return job_report(
                device,
                standings[device.name],
                status,
                self.version.registered_accuracy,
                self._fleet.score(device.name, last.student) if last else None,
                oracles[device.person],
                len(registration.public_windows),
                baselines.get(device.name, ()),
            )

        return tuple(one(device) for device in self._devices)

    def _baselines(self, statuses: Mapping[str, JobStatus]) -> dict[str, tuple[Baseline, ...]]:
        """Of every job that ended with a student which meets its profile."""
        calibration = self._fleet.calibration_ms()
        found = {d.name: self._case(d, statuses[d.name], calibration) for d in self._devices}
        cases = {name: case for name, case in found.items() if case is not None}
        comparison = Comparison(cases, self._there.settings, self._cache)
        return comparison.run(self._live.baseline)

    def _case(
        self, device: Device, status: JobStatus, calibration: Mapping[Student, float]
    ) -> Case | None:
        verdict, model = status.verdict, self.version.model
        if verdict is None or verdict.kind is not VerdictKind.MET or model is None:
            return None
        trained = [p for p in status.plans if p.student == verdict.student and p.training.steps]
        return Case(
            seed=self._scenario.seed,
            central_epochs=self._scenario.central_epochs,
            person=device.person,
            device=device,
            student=trained[-1].student,
            recipe=trained[-1].training.model_copy(update={"seed": self._scenario.seed}),
            family_digest=model.family_digest,
            calibration_ms=tuple(calibration.items()),
        )


def people(scenario: Scenario) -> dict[int, Person]:
    """The private recordings of each person who has a device."""
    wrist, who = data.read(), data.people(scenario.seed)

    def person(number: int) -> Person:
        own = data.client(wrist, who.clients[number], scenario.seed)
        return Person(own.train.to_parquet(), own.validation.to_parquet(), own.test.to_parquet())

    return {number: person(number) for number in {d.person for d in scenario.devices}}


def factory(scenario: Scenario, there: Deployment) -> Factory:
    """What every device of the run is made with."""
    wrist, who = data.read(), data.people(scenario.seed)
    pre = owner.preprocessing(wrist.of(who.central))
    return Factory(
        url=there.url,
        folder=there.state / "devices",
        seed=scenario.seed,
        architecture=owner.ARCHITECTURE,
        preprocessing=pre,
        public_windows=owner.public_windows(wrist.of(who.public), pre),
        grid=there.settings.grid,
    )


def offered(device: Device, status: JobStatus) -> Device | None:
    """The same device with the best counter-offer as its profile; None where none was made."""
    verdict = status.verdict
    if verdict is None or verdict.kind is not VerdictKind.INFEASIBLE or not verdict.counter_offers:
        return None
    best = max(verdict.counter_offers, key=lambda offer: offer.chance)
    relaxed = with_limits(device.profile, best.limits)
    changes = {
        "name": f"{device.name}-offer",
        "profile": relaxed,
        "offer_of": device.name,
        "feasible": None if device.feasible is None else True,
        "binding_constraint": None,
    }
    return device.model_copy(update=changes)


def row(standing: Standing, status: JobStatus) -> Row:
    """A job as it is shown while it runs."""
    return Row(
        name=standing.name,
        doing=standing.doing,
        round=status.round,
        bytes_acknowledged=status.transfers.bytes_acknowledged,
        bytes_promised=status.transfers.bytes,
        wire_bytes=standing.wire_bytes,
        verdict=status.verdict.kind if status.verdict else "",
    )
