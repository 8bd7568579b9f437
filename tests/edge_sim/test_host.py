"""EdgeHost: several devices in threads over real HTTP, each with its own person, disk and model."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny
from plant import Plant

from actors.listener import listen
from edge_sim.deployment import free_ports
from edge_sim.host import EdgeHost, Factory, Person
from edge_sim.scenario import Device, DeviceModel
from stillhouse.entities import ProfileSpec, VerdictKind
from stillhouse.errors import Invalid

SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=1_000_000,
    storage_bytes=100_000,
    latency_p95_ms=50,
    max_accuracy_drop=0.9,
)
FAST = DeviceModel(anchor_latency_ms=2, memory_bytes=2_000_000)
DEVICES = tuple(
    Device(
        name=name,
        person=place,
        submit="after_model",
        feasible=True,
        profile=SPEC.model_copy(update={"latency_p95_ms": limit}),
        model=FAST,
    )
    for place, (name, limit) in enumerate([("watch", 50), ("phone", 40), ("tag", 0.5)])
)


def person(seed: int) -> Person:
    return Person(*(tiny.recordings(seed + part).to_parquet() for part in (0, 20, 40)))


@dataclass(frozen=True)
class Run:
    """A host whose devices have all come to their end."""

    host: EdgeHost
    plant: Plant

    def verdict(self, name: str) -> VerdictKind:
        [standing] = [each for each in self.host.standings() if each.name == name]
        verdict = self.plant.job(standing.job_id).verdict
        assert verdict is not None
        return verdict.kind


def plant_at_work() -> Plant:
    """A server on a port of its own."""
    [port] = free_ports(1)
    plant = Plant(f"http://127.0.0.1:{port}")
    plant.announce("waves")
    listen(plant.app, "127.0.0.1", port)
    return plant


def factory(plant: Plant, folder: Path) -> Factory:
    return Factory(
        url=plant.chunk_url,
        folder=folder,
        seed=0,
        architecture=tiny.ARCHITECTURE,
        preprocessing=tiny.PRE,
        public_windows=tiny.family().public.to_bytes(),
        grid=tiny.GRID,
    )


def wait(host: EdgeHost) -> None:
    deadline = time.monotonic() + 60
    while host.working() and time.monotonic() < deadline:
        time.sleep(0.05)


def start(folder: Path, devices: tuple[Device, ...], people: dict[str, Person]) -> Run:
    """Every device has joined, submitted its job and come to its end."""
    plant = plant_at_work()
    host = EdgeHost(factory(plant, folder), devices, people)
    host.join()
    for device in devices:
        host.submit(device.name, "waves")
    wait(host)
    return Run(host, plant)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    people = {device.name: person(place) for place, device in enumerate(DEVICES)}
    return start(tmp_path_factory.mktemp("devices"), DEVICES, people)


def test_every_device_comes_to_the_verdict_that_its_model_makes_true(run: Run) -> None:
    assert not run.host.working()
    assert [run.verdict(device.name) for device in DEVICES] == [
        VerdictKind.MET,
        VerdictKind.MET,
        VerdictKind.INFEASIBLE,
    ]


def test_devices_are_clients_of_their_own_with_profiles_and_jobs(run: Run) -> None:
    standings = run.host.standings()
    assert {standing.doing for standing in standings} == {"done"}
    for ids in zip(*((s.client_id, s.profile_id, s.job_id) for s in standings), strict=True):
        assert len(set(ids)) == len(DEVICES)


def test_what_passed_the_wire_is_more_than_the_chunks(run: Run) -> None:
    for standing in run.host.standings():
        chunks = [c for row in run.plant.deliveries(standing.job_id) for c in row.chunks]
        assert standing.wire_bytes > sum(chunk.length for chunk in chunks)
        assert standing.wire_bytes > 1000


def test_the_harness_scores_the_current_student_on_what_no_rule_read(run: Run) -> None:
    [standing] = [each for each in run.host.standings() if each.name == "watch"]
    metric = run.plant.job(standing.job_id).metrics[-1]
    score = run.host.score("watch", metric.student)
    assert 0.3 < score.accuracy <= 1  # chance is a third
    assert score.accuracy_se > 0
    assert score == run.host.score("watch", metric.student)


def test_the_host_was_calibrated_once_for_every_shape(run: Run) -> None:
    assert set(run.host.calibrated_ms()) == set(tiny.GRID.shapes())
    assert all(ms > 0 for ms in run.host.calibrated_ms().values())


def test_what_stops_a_device_reaches_whoever_watches(tmp_path: Path) -> None:
    short = tiny.recordings(5, length=tiny.PRE.window - 1).to_parquet()
    stopped = start(tmp_path, DEVICES[:1], {"watch": Person(short, short, short)})
    with pytest.raises(Invalid, match="no recording is as long as a window"):
        stopped.host.standings()
    assert not stopped.host.working()


def test_a_host_that_comes_back_goes_on_with_the_same_profiles_and_jobs(tmp_path: Path) -> None:
    plant = plant_at_work()
    made = factory(plant, tmp_path)
    people = {"watch": person(0)}
    host = EdgeHost(made, DEVICES[:1], people)
    host.join()
    before = host.submit("watch", "waves")
    wait(host)
    again = EdgeHost(made, DEVICES[:1], people)
    wait(again)
    [after] = again.standings()
    assert (after.profile_id, after.job_id) == (before.profile_id, before.job_id)
    assert again.calibrated_ms() == host.calibrated_ms()
    verdict = plant.job(after.job_id).verdict
    assert verdict is not None
    assert verdict.kind is VerdictKind.MET


def test_what_devices_do_is_heard_in_its_order(run: Run) -> None:
    [watch] = [each.client_id for each in run.host.standings() if each.name == "watch"]
    heard = [doing for client, doing in run.host.heard().news if client == watch]
    assert heard[0] == "probe"
    assert heard.index("r1.transfer.0") < heard.index("r1.train") < heard.index("r1.measure")
