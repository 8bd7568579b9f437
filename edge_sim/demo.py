"""The demo: an owner, one person, their devices; everything over the real API, start to verdict."""

import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray

from actors import start as wiring
from actors.settings import ActorSettings
from cluster.connect import ClusterSettings, connect
from edge_sim.host import EdgeHost, Factory, Person, Standing
from edge_sim.live import Live
from edge_sim.report import JobReport, Report, job_report
from edge_sim.scenario import Device, Scenario
from edge_sim.wrist import data, owner
from serve_app.deployment import ApiSettings, run
from stillhouse.compress.recordings import Recordings
from stillhouse.entities import CentralModelSpec, Role
from stillhouse.sdk import Stillhouse, Version
from stillhouse.wire.identity import Identity

POLL_S = 0.5
BUILD_TIMEOUT_S = 900.0


def play(scenario: Scenario, folder: Path, live: Live) -> Report:
    """Run the scenario on a cluster of its own, or on the one that is there; what came of it."""
    started = time.monotonic()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    try:
        with ThreadPoolExecutor(1) as pool:
            trained = pool.submit(owner.prepare, scenario.seed, live.training)
            url = cluster(state, live)
            jobs, central_bytes = session(scenario, state, url, trained, live)
    finally:
        ray.shutdown()
        shutil.rmtree(state, ignore_errors=True)
    return Report(
        wall_s=time.monotonic() - started,
        seed=scenario.seed,
        reused=(),
        central_model_bytes=central_bytes,
        jobs=jobs,
    )


def cluster(state: Path, live: Live) -> str:
    """Ray, the actors and the API, all of it new; the API's base URL."""
    live.stage("starting the cluster")
    api_port, chunk_port = free_ports(2)
    settings = ActorSettings(
        state=state.resolve() / "state", api_port=api_port, chunk_port=chunk_port
    )
    connect(ClusterSettings())
    wiring.initialise(settings)
    wiring.start(settings)
    url = run(ApiSettings(actors=settings, open_enrolment=True))
    live.stage(f"the API listens at {url}")
    return url


def session(
    scenario: Scenario,
    state: Path,
    url: str,
    trained: "Future[owner.Registration]",
    live: Live,
) -> tuple[tuple[JobReport, ...], int]:
    """Devices join, the owner registers, jobs run until each has ended."""
    persons = people(scenario)
    host = new_host(scenario, state, url, persons)
    ray.get(host.join.remote())
    submit(host, scenario, "before_model")
    live.stage("training the central model at its owner")
    registration = trained.result()
    version = register(scenario, url, registration, live)
    submit(host, scenario, "after_model")
    standings = watch(host, live)
    rows = reports(scenario, url, host, standings, registration, version, persons)
    return rows, version.size_bytes


def people(scenario: Scenario) -> dict[str, Person]:
    """The private recordings of each device's person."""
    wrist, who = data.read(), data.people(scenario.seed)

    def person(device: Device) -> Person:
        own = data.client(wrist, who.clients[device.person], scenario.seed)
        return Person(own.train.to_parquet(), own.validation.to_parquet(), own.test.to_parquet())

    return {device.name: person(device) for device in scenario.devices}


def new_host(scenario: Scenario, state: Path, url: str, persons: Mapping[str, Person]) -> Any:
    """An EdgeHost actor with every device of the scenario."""
    wrist, who = data.read(), data.people(scenario.seed)
    pre = owner.preprocessing(wrist.of(who.central))
    factory = Factory(
        url=url,
        folder=state.resolve() / "devices",
        seed=scenario.seed,
        architecture=owner.ARCHITECTURE,
        preprocessing=pre,
        public_windows=owner.public_windows(wrist.of(who.public), pre),
    )
    actor = ray.remote(EdgeHost).options(name="edge-host", num_cpus=1, max_concurrency=4)
    return actor.remote(factory, scenario.devices, dict(persons))


def submit(host: Any, scenario: Scenario, when: str) -> None:
    chosen = [device.name for device in scenario.devices if device.submit == when]
    ray.get([host.submit.remote(name, scenario.central_model) for name in chosen])


def register(scenario: Scenario, url: str, registration: owner.Registration, live: Live) -> Version:
    """The owner uploads; the system measures, builds the family, and announces the version."""
    live.stage("uploading the central model, sealed")
    client = Stillhouse([url], Identity.derive(f"owner {scenario.seed}".encode()), Role.OWNER)
    client.enrol()
    spec = CentralModelSpec(
        architecture=registration.architecture,
        preprocessing=registration.preprocessing,
        labels=registration.labels,
        files={},
    )
    version = client.register(scenario.central_model, spec, registration.files())
    live.stage("measuring the central model, building its family")
    return client.wait_available(version, BUILD_TIMEOUT_S, live.building)


def watch(host: Any, live: Live) -> tuple[Standing, ...]:
    """Until every device has nothing left to do."""
    live.stage("distilling")
    while True:
        working = ray.get(host.working.remote())
        standings: tuple[Standing, ...] = ray.get(host.standings.remote())
        live.devices(standings)
        if not working:
            return standings
        time.sleep(POLL_S)


def reports(
    scenario: Scenario,
    url: str,
    host: Any,
    standings: tuple[Standing, ...],
    registration: owner.Registration,
    version: Version,
    persons: Mapping[str, Person],
) -> tuple[JobReport, ...]:
    """One row a job; the harness alone reads test recordings."""
    operator = Stillhouse([url], Identity.derive(b"operator"), Role.OPERATOR)
    operator.enrol()
    by_name = {standing.name: standing for standing in standings}

    def one(device: Device) -> JobReport:
        standing = by_name[device.name]
        status = operator.status(standing.job_id)
        test = None
        if status.metrics:
            test = ray.get(host.score.remote(device.name, status.metrics[-1].student))
        recordings = Recordings.from_parquet(persons[device.name].test)
        return job_report(
            device,
            standing,
            status,
            version.registered_accuracy,
            test,
            owner.oracle(registration, recordings).accuracy,
            len(registration.public_windows),
        )

    return tuple(one(device) for device in scenario.devices)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
