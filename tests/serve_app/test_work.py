"""What a device is told to do, step by step to the verdict; what is said to a wrong step."""

from collections.abc import Iterator
from typing import Any

import anyio.from_thread
import pytest
import tiny
from api_house import URL, AsgiTransport, House, Member
from plant import Plant
from test_problems import is_problem

from actors.reading import WORK
from stillhouse.entities import (
    BehaviourRecipe,
    DistillationMetric,
    Entity,
    ProbeResult,
    ProfileSpec,
    Role,
    WeightsRecipe,
)
from stillhouse.rows import DeliveryRow
from stillhouse.wire.messages import (
    Ack,
    FetchWork,
    InstallationReport,
    MeasureWork,
    ProbeReport,
    ProbeWork,
    Progress,
    TrainWork,
    Work,
)

ROOMY = ProfileSpec(
    cpu_cores=1,
    memory_bytes=1_000_000,
    storage_bytes=100_000,
    latency_p95_ms=50,
    max_accuracy_drop=0.9,
)


class Works(House):
    """A house whose effects run at once, with a central model in it."""

    backend: Plant

    def __init__(self, portal: anyio.from_thread.BlockingPortal) -> None:
        self.backend = Plant(URL)
        self.transport = AsgiTransport(self.backend.app, portal)
        self.backend.announce("waves")


class Walk:
    """A device by hand: takes one step after the other."""

    def __init__(self, device: Member, spec: ProfileSpec = ROOMY) -> None:
        self.device = device
        self.profile = device.create_profile(device.id, spec)
        self.job = device.submit(device.id, "waves", self.profile.id).id

    def work(self, kind: type[Any]) -> Any:
        [item] = self.device.http.read(Work, f"/clients/{self.device.id}/work").items
        assert isinstance(item, kind)
        return item

    def post(self, path: str, body: Entity) -> Any:
        return self.device.signed("POST", path, body.model_dump_json().encode())

    @property
    def delivery(self) -> DeliveryRow:
        backend: Any = self.device.house.backend
        found: DeliveryRow = backend.deliveries(self.job)[-1]
        return found

    def probe(self) -> Any:
        work = self.work(ProbeWork)
        probes = tuple(
            ProbeResult(student=each, latency_p50_ms=1.0, latency_p95_ms=1.2)
            for each in work.students
        )
        report = ProbeReport(attempt=work.attempt, probes=probes)
        return self.post(f"/distillation_jobs/{self.job}/probes", report)

    def acknowledge(self, index: int, ack: str | None = None) -> Any:
        body = Ack(index=index, ack=ack or self.delivery.expected_acks[index])
        return self.post(f"/deliveries/{self.delivery.id}/acks", body)

    def fetch(self) -> None:
        for index in range(len(self.delivery.chunks)):
            assert self.work(FetchWork).next_chunk == index
            assert self.acknowledge(index).status_code == 204

    def progress(self, node: str, attempt: int = 1, *, done: bool = True) -> Any:
        body = Progress(node=node, attempt=attempt, share=1.0, done=done)
        return self.post(f"/clients/{self.device.id}/work/{self.job}/progress", body)

    def train(self) -> None:
        work = self.work(TrainWork)
        assert self.progress(work.node, work.attempt).status_code == 204

    def metric(self, **changes: Any) -> DistillationMetric:
        plan = self.device.status(self.job).plan
        assert plan is not None
        fields = {
            "round": 1, "student": plan.student, "accuracy": 0.95, "accuracy_se": 0.01,
            "samples": 200, "latency_p50_ms": 1.0, "latency_p95_ms": 1.2,
            "peak_memory_bytes": 1000, "storage_bytes": 1000, "training_time_s": 1.0,
        }  # fmt: skip
        return DistillationMetric(**{**fields, **changes})

    def measure(self, **changes: Any) -> Any:
        return self.post(f"/distillation_jobs/{self.job}/metrics", self.metric(**changes))


@pytest.fixture
def walk(portal: anyio.from_thread.BlockingPortal) -> Iterator[Walk]:
    inputs = tiny.family().public.digest()
    with Works(portal).member("device", holdings=(inputs,)) as device:
        yield Walk(device)


def test_a_device_is_told_each_step_from_probe_to_verdict(walk: Walk) -> None:
    probe = walk.work(ProbeWork)
    assert probe.students == tiny.family().table.probes
    assert probe.card.architecture == tiny.family().header.architecture
    assert probe.memory_bytes == ROOMY.memory_bytes
    assert walk.probe().status_code == 204
    fetch = walk.work(FetchWork)
    assert (fetch.profile_id, fetch.next_chunk) == (walk.profile.id, 0)
    walk.fetch()
    train = walk.work(TrainWork)
    plan = walk.device.status(walk.job).plan
    assert (train.student, train.training) == (plan.student, plan.training)
    assert train.weights + train.behaviour == walk.delivery.chunks
    assert {type(chunk.recipe) for chunk in train.weights} == {WeightsRecipe}
    assert {type(chunk.recipe) for chunk in train.behaviour} == {BehaviourRecipe}
    walk.train()
    measure = walk.work(MeasureWork)
    assert (measure.student, measure.round) == (plan.student, 1)
    assert walk.measure().status_code == 202
    done = walk.device.http.read(Work, f"/clients/{walk.device.id}/work")
    assert (done.items, done.open_jobs) == ((), 0)
    assert walk.device.status(walk.job).verdict.kind == "MET"


def test_jobs_that_wait_for_a_model_hold_up_no_work_of_others(
    portal: anyio.from_thread.BlockingPortal,
) -> None:
    device = Works(portal).member("patient")
    profile = device.create_profile(device.id, ROOMY)
    for _ in range(WORK + 1):
        device.submit(device.id, "missing", profile.id)
    job = device.submit(device.id, "waves", profile.id).id
    work = device.http.read(Work, f"/clients/{device.id}/work")
    assert [item.job_id for item in work.items] == [job]
    assert work.open_jobs == WORK + 2


def test_the_status_says_how_far_the_bytes_are(walk: Walk) -> None:
    walk.probe()
    walk.acknowledge(0)
    seen, chunks = walk.device.status(walk.job).transfers, walk.delivery.chunks
    assert (seen.chunks, seen.chunks_acknowledged) == (len(chunks), 1)
    assert seen.bytes == sum(chunk.length for chunk in chunks)
    assert seen.bytes_acknowledged == chunks[0].length


def test_a_job_explains_itself(walk: Walk) -> None:
    before = walk.device.signed("GET", f"/distillation_jobs/{walk.job}/explanation").json()
    assert (before["plans"], before["judgement"]) == ([], None)
    walk.probe()
    walk.fetch()
    walk.train()
    walk.measure()
    after = walk.device.signed("GET", f"/distillation_jobs/{walk.job}/explanation").json()
    assert len(after["plans"]) == 1
    assert after["judgement"] == after["verdict"]["why"]
    graph = walk.device.signed("GET", f"/distillation_jobs/{walk.job}/graph").json()["nodes"]
    ids = [node["id"] for node in graph]
    assert all(ids.index(parent) < ids.index(n["id"]) for n in graph for parent in n["parents"])


def test_a_measurement_after_the_verdict_is_kept_and_shown(walk: Walk) -> None:
    walk.probe()
    walk.fetch()
    walk.train()
    walk.measure()
    receipt = walk.measure(accuracy=0.1, latency_p95_ms=99.0).json()
    assert receipt["kept"]
    status = walk.device.status(walk.job)
    assert [metric.accuracy for metric in status.metrics] == [0.95]
    assert [metric.accuracy for metric in status.metrics_after_verdict] == [0.1]
    assert status.verdict.kind == "MET"
    assert status.followed_by == status.job.followed_by == receipt["opened_job"]
    follower = walk.device.status(receipt["opened_job"])
    assert follower.follows == walk.job
    assert "probe" not in {node.id for node in follower.graph}


def test_the_manifest_is_the_same_bytes_every_time(walk: Walk) -> None:
    walk.probe()
    path = f"/deliveries/{walk.delivery.id}/manifest"
    first, second = (walk.device.signed("GET", path) for _ in range(2))
    assert first.content == second.content == walk.delivery.envelope
    assert first.headers["content-type"] == "application/vnd.dsse.envelope.v1+json"


def test_an_ack_out_of_turn_or_of_nothing_opens_nothing(walk: Walk) -> None:
    walk.probe()
    wrong = "0" * 64
    assert is_problem(walk.acknowledge(1), 409)["code"] == "transfer_closed"
    assert is_problem(walk.acknowledge(0, wrong), 409)["code"] == "ack_mismatch"
    assert is_problem(walk.acknowledge(999, wrong), 422)["code"] == "invalid"
    assert walk.work(FetchWork).next_chunk == 0
    for _ in range(2):
        assert walk.acknowledge(0).status_code == 204
    assert walk.work(FetchWork).next_chunk == 1


@pytest.mark.parametrize("node", ["", "nothing", "await_model", "probe", "r1.plan", "r1.measure"])
def test_progress_of_what_is_not_under_way_is_refused(walk: Walk, node: str) -> None:
    is_problem(walk.progress(node))
    assert walk.work(ProbeWork)


def test_a_report_of_an_attempt_that_has_moved_on_is_refused(walk: Walk) -> None:
    work = walk.work(ProbeWork)
    probes = tuple(
        ProbeResult(student=each, latency_p50_ms=1.0, latency_p95_ms=1.0) for each in work.students
    )
    late = ProbeReport(attempt=work.attempt + 1, probes=probes)
    answer = walk.post(f"/distillation_jobs/{walk.job}/probes", late)
    assert is_problem(answer, 409)["code"] == "stale_attempt"
    walk.probe()
    again = ProbeReport(attempt=work.attempt, probes=probes)
    is_problem(walk.post(f"/distillation_jobs/{walk.job}/probes", again), 409)


def test_a_measurement_too_early_of_another_round_or_student_is_refused(walk: Walk) -> None:
    walk.probe()
    other = tiny.family().table.rows[-1].student.model_copy(update={"width": 0.125})
    assert is_problem(walk.measure(), 409)
    assert is_problem(walk.measure(round=2), 409)["code"] == "stale_attempt"
    assert is_problem(walk.measure(student=other), 422)["code"] == "invalid"
    assert walk.device.status(walk.job).metrics == ()


def test_an_installation_report_needs_every_chunk_and_the_right_manifest(walk: Walk) -> None:
    walk.probe()
    path = f"/deliveries/{walk.delivery.id}/installation_report"
    right = InstallationReport(manifest_digest=walk.delivery.envelope_digest, version=1)
    assert is_problem(walk.post(path, right), 409)
    walk.fetch()
    wrong = right.model_copy(update={"manifest_digest": "0" * 64})
    assert is_problem(walk.post(path, wrong), 409)
    for _ in range(2):
        assert walk.post(path, right).status_code == 204


def test_a_delivery_is_its_clients_alone(walk: Walk) -> None:
    walk.probe()
    delivery, house = walk.delivery, walk.device.house
    ack = Ack(index=0, ack=delivery.expected_acks[0]).model_dump_json().encode()
    stranger, operator = house.member("stranger"), house.member("operator", Role.OPERATOR)
    assert is_problem(stranger.signed("GET", f"/deliveries/{delivery.id}/manifest"), 404)
    assert is_problem(stranger.signed("POST", f"/deliveries/{delivery.id}/acks", ack), 404)
    assert is_problem(stranger.signed("GET", f"/deliveries/{delivery.id}/chunks/0"), 404)
    assert is_problem(operator.signed("GET", f"/deliveries/{delivery.id}/manifest"), 403)
    assert walk.work(FetchWork).next_chunk == 0


def test_a_cancelled_job_has_no_work_and_takes_no_ack(walk: Walk) -> None:
    walk.probe()
    assert walk.device.cancel(walk.job).state == "CANCELLED"
    assert walk.device.http.read(Work, f"/clients/{walk.device.id}/work").items == ()
    assert is_problem(walk.acknowledge(0), 410)["code"] == "gone"


def test_the_jobs_of_a_client_are_listed_newest_first(walk: Walk) -> None:
    second = walk.device.submit(walk.device.id, "later", walk.profile.id).id
    path = f"/distillation_jobs?client_id={walk.device.id}"
    assert [job["id"] for job in walk.device.signed("GET", path).json()["jobs"]] == [
        second, walk.job,
    ]  # fmt: skip
