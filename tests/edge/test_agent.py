"""A device's loop against the real API, rules and seals: it may be killed anywhere and goes on."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio.from_thread
import httpx2
import pytest
import tiny
from api_house import URL, AsgiTransport
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from plant import KEYS, Plant

from actors.deliveries import ServerKeys
from edge_sim.device import SimulatedWorkbench
from edge_sim.scenario import DeviceModel
from stillhouse.commands import Cancel
from stillhouse.compress.arch import build, load_weights
from stillhouse.compress.slices import weights_chunk
from stillhouse.decisions import Request
from stillhouse.edge.agent import Agent
from stillhouse.edge.train import Training
from stillhouse.edge.workbench import PrivateData, Workbench
from stillhouse.entities import (
    DeltaRecipe,
    JobState,
    Principal,
    ProfileSpec,
    Role,
    Student,
    VerdictKind,
)
from stillhouse.errors import AckMismatch, VerificationFailed
from stillhouse.rows import DistillationJobRow
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import Ack, ModelCard, TrainWork

EASY = ProfileSpec(
    cpu_cores=1,
    memory_bytes=1_000_000,
    storage_bytes=100_000,
    latency_p95_ms=50,
    max_accuracy_drop=0.9,
)
IDENTITY = Identity.derive(b"device")
CALIBRATION = {shape: 1.0 + shape.width for shape in tiny.GRID.shapes()}
PRIVATE = PrivateData(tiny.recordings(5), tiny.recordings(6))


class QuickWorkbench(SimulatedWorkbench):
    """Trains for a moment: these tests are about the loop."""

    def __init__(self, model: DeviceModel) -> None:
        super().__init__(PRIVATE, tiny.family().public, model, CALIBRATION, seed=0)
        self.fails = False

    def train(self, work: TrainWork, *rest: object) -> tuple[bytes, Training]:
        recipe = work.training.model_copy(update={"steps": 2})
        return super().train(work.model_copy(update={"training": recipe}), *rest)

    def self_test(self, card: ModelCard, student: Student, trained: bytes) -> bool:
        return not self.fails and super().self_test(card, student, trained)


class Line(httpx2.BaseTransport):
    """To the plant; `before` and `after` may do what networks and kills do."""

    def __init__(self, plant: Plant, portal: anyio.from_thread.BlockingPortal) -> None:
        self._inner = AsgiTransport(plant.app, portal)
        self.before: Callable[[httpx2.Request], None] = lambda _: None
        self.after: Callable[[httpx2.Request], None] = lambda _: None
        self.paths: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.before(request)
        answer = self._inner.handle_request(request)
        self.paths.append(f"{request.method} {request.url.path}")
        self.after(request)
        return answer

    def count(self, what: str) -> int:
        return sum(what in path for path in self.paths)


class Site:
    """A plant, a line, a disk; `boot` starts the device anew on them."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, folder: Path) -> None:
        self.plant = Plant(URL)
        self.line = Line(self.plant, portal)
        self.folder = folder
        self.bench: Workbench = QuickWorkbench(
            DeviceModel(anchor_latency_ms=2, memory_bytes=2_000_000)
        )
        self.doing: list[str] = []
        self._nonces = itertools.count()
        self.heard: Callable[[str], None] = self.doing.append
        self.paused: Callable[[float], None] = lambda _: None

    def boot(self) -> Agent:
        http = SignedClient(
            [URL], IDENTITY, transport=self.line, pause=lambda _: None, nonce=self.nonce
        )
        device = Agent(
            http, IDENTITY, self.folder, self.bench, lambda what: self.heard(what), self.paused
        )
        device.join((tiny.family().public.digest(),))
        return device

    def nonce(self) -> str:
        """The same ones in every run of a test: ids and seeds are made of them."""
        return f"{next(self._nonces):024d}-nonce"

    def submit(self, spec: ProfileSpec = EASY) -> str:
        device = self.boot()
        return device.submit("waves", device.declare(spec).id).id

    def run(self, spec: ProfileSpec = EASY) -> DistillationJobRow:
        job_id = self.submit(spec)
        self.boot().run(wait_s=0)
        return self.plant.job(job_id)

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def site(portal: anyio.from_thread.BlockingPortal, tmp_path: Path) -> Site:
    made = Site(portal, tmp_path / "device")
    made.plant.announce("waves")
    return made


def outcome(job: DistillationJobRow) -> tuple[object, ...]:
    nodes = [(node.id, node.state) for node in job.graph.values()]
    assert job.verdict is not None
    return job.state, job.verdict.kind, nodes, len(job.metrics)


def test_a_device_goes_from_its_profile_to_a_verdict(site: Site) -> None:
    job = site.run()
    assert job.state is JobState.ENDED
    assert job.verdict is not None
    assert job.verdict.kind is VerdictKind.MET
    assert site.doing[:2] == ["probe", "r1.transfer.0"]
    assert site.doing[-3:] == ["r1.train", "trained", "r1.measure"]
    assert {metric.source for metric in job.metrics} == {"calibrated"}
    [delivery] = site.plant.deliveries(job.id)
    assert site.line.count("/chunks/") == len(delivery.chunks) >= 2  # weights and behaviour


def test_the_received_student_is_reported_before_it_is_trained(site: Site) -> None:
    job = site.run()
    installed = site.line.paths.index(f"POST /deliveries/{job.deliveries[0]}/installation_report")
    trained = site.line.paths.index(f"POST /clients/{job.client_id}/work/{job.id}/progress")
    assert installed < trained
    assert site.plant.deliveries(job.id)[0].id in site.plant.job(job.id).installations


def test_the_device_keeps_what_it_received_beside_what_it_trained(site: Site) -> None:
    job = site.run()
    device = site.boot()
    reference = device.disk.reference(job.profile.id)
    weights = [
        each.digest
        for each in site.plant.deliveries(job.id)[0].chunks
        if each.recipe.kind == "weights"
    ]
    assert list(reference) == weights
    assert job.metrics[-1].storage_bytes == sum(len(device.disk.chunk(d)) for d in reference)


def test_a_second_job_is_sent_nothing_that_the_device_holds(site: Site) -> None:
    site.run()
    before = site.line.count("/chunks/")
    second = site.run()
    assert second.verdict is not None
    assert site.line.count("/chunks/") == before
    assert "probe" not in second.graph


def test_a_device_killed_at_any_request_goes_on_and_ends_the_same(
    portal: anyio.from_thread.BlockingPortal, tmp_path: Path
) -> None:
    """Before the request reached the server, and after: then its answer is lost."""
    calm = Site(portal, tmp_path / "calm")
    calm.plant.announce("waves")
    calm.submit()
    start = len(calm.line.paths) + 3  # joins again: two steps of enrolment, and the keys
    job = calm.run()
    requests = len(calm.line.paths) - start
    for number in range(2 * requests):
        site = Site(portal, tmp_path / str(number))
        site.plant.announce("waves")
        job_id, left = site.submit(), number // 2 + 1

        def kill(_: httpx2.Request) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        device = site.boot()
        setattr(site.line, ("before", "after")[number % 2], kill)
        try:
            device.run(wait_s=0)
        except KeyboardInterrupt:
            site.boot().run(wait_s=0)
        assert outcome(site.plant.job(job_id)) == outcome(job)
        [delivery] = site.plant.deliveries(job_id)
        assert delivery.id in site.plant.job(job_id).installations
        assert site.line.count("/chunks/") <= len(delivery.chunks) + 1
    assert left > 0  # the last of them came to its end unharmed


def test_a_line_that_loses_every_answer_once_changes_nothing(site: Site) -> None:
    lost: set[str] = set()

    def lose(request: httpx2.Request) -> None:
        nonce = request.headers.get("signature-input", "").partition('nonce="')[2][:24]
        key = request.url.path if "/chunks/" in request.url.path else nonce
        if key and key not in lost:
            lost.add(key)
            raise httpx2.ReadError("lost")

    site.line.after = lose
    job = site.run()
    assert len(lost) > 10
    assert job.verdict is not None
    assert job.verdict.kind is VerdictKind.MET
    assert len(job.metrics) == job.round == len(job.deliveries)
    assert {node.attempt for node in job.graph.values() if node.kind == "transfer"} == {1}
    events = site.plant.events(job.id)
    assert events.count("JobSubmitted") == events.count("JobClosed") == 1


def test_repeated_acks_are_harmless_and_wrong_ones_are_refused(site: Site) -> None:
    job = site.run()
    before = site.plant.deliveries(job.id)
    device = site.boot()
    path = f"/deliveries/{before[0].id}/acks"
    for index, ack in enumerate(device.disk.acks(before[0].id)):
        for _ in range(3):
            device.http.command("POST", path, Ack(index=index, ack=ack))
        with pytest.raises(AckMismatch):
            device.http.command("POST", path, Ack(index=index, ack="0" * 64))
    assert site.plant.deliveries(job.id) == before


def test_a_manifest_of_another_key_is_refused_and_nothing_of_it_is_kept(site: Site) -> None:
    site.submit()
    device = site.boot()
    before = site.files()
    site.plant.signer = ServerKeys(
        KEYS.cluster, Ed25519PrivateKey.from_private_bytes(b"x" * 32), KEYS.acks
    )
    with pytest.raises(VerificationFailed, match="no trusted key"):
        device.run(wait_s=0)
    assert site.files() == before
    assert site.line.count("/chunks/") == 0


def test_the_clusters_keys_are_pinned_at_the_first_join(site: Site) -> None:
    pinned = site.boot().disk.anchors()
    site.plant.anchors = site.plant.anchors.model_copy(update={"manifest_keys": ("0" * 64,)})
    assert site.boot().disk.anchors() == pinned
    assert site.line.count("/trust_anchors") == 1


def test_a_student_that_fails_its_self_test_never_becomes_current(site: Site) -> None:
    first = site.run()
    trained = site.boot().disk.student(first.profile.id)
    device = site.boot()
    assert isinstance(site.bench, QuickWorkbench)
    site.bench.fails = True
    job = device.submit("waves", first.profile.id)
    with pytest.raises(VerificationFailed, match="self-test"):
        device.run(wait_s=0)
    assert device.disk.student(first.profile.id) == trained
    assert site.plant.job(job.id).graph["r1.train"].state == "WAITING_CLIENT"


@pytest.mark.parametrize("moment", ["probe", "r1.transfer.0", "r1.train", "r1.measure"])
def test_a_job_cancelled_in_the_middle_ends_the_loop_quietly(site: Site, moment: str) -> None:
    job_id = site.submit()
    who = Principal(id="opr-00000000-0000000000000000", role=Role.OPERATOR)

    def cancel(doing: str) -> None:
        if doing == moment:
            request = Request("cancel", "digest", who, Cancel(job_id))
            site.plant._apply(site.plant.shard, request)

    site.heard = cancel
    site.boot().run(wait_s=0)
    assert site.plant.job(job_id).state is JobState.CANCELLED


def test_a_device_that_no_probe_fits_says_so_and_still_gets_a_verdict(site: Site) -> None:
    job = site.run(EASY.model_copy(update={"memory_bytes": 1000}))
    assert job.probes == ()
    assert job.graph["probe"].cause == "0 networks measured"
    assert job.verdict is not None
    assert job.metrics


def test_training_reports_its_progress_and_its_end(site: Site) -> None:
    """Progress renews the lease."""
    job = site.run()
    path = f"POST /clients/{job.client_id}/work/{job.id}/progress"
    assert site.line.count(path) == job.round * 2  # the first step's, and the end


STRICT = EASY.model_copy(update={"max_accuracy_drop": 0.0})  # wants a student of several slices


def test_a_device_has_a_student_of_its_own_before_all_chunks_are_there(site: Site) -> None:
    """The last slices wait on the line until the first student runs."""
    running = threading.Event()
    found: list[tuple[Student, bytes]] = []

    def hold(request: httpx2.Request) -> None:
        _, _, index = request.url.path.partition("/chunks/")
        if index and int(index) > 1:
            assert running.wait(60), "training did not begin without the last chunks"

    def heard(doing: str) -> None:
        site.doing.append(doing)
        if doing.endswith("meanwhile"):
            [profile] = {job.profile.id for job in [site.plant.job(job_id)]}
            found.append((site.plant.job(job_id).plans[0].student, device.disk.student(profile)))
            running.set()

    site.line.before, site.heard = hold, heard
    job_id = site.submit(STRICT)
    device = site.boot()
    device.run(wait_s=0)
    job = site.plant.job(job_id)
    [delivery] = site.plant.deliveries(job_id)[:1]
    kinds = [chunk.recipe.kind for chunk in delivery.chunks]
    assert (kinds[:2], delivery.train_after) == (["weights", "behaviour"], 1)
    assert len(kinds) > 2
    [(wanted, meanwhile)] = found
    smallest = delivery.chunks[0].recipe.student
    assert smallest != wanted
    load_weights(build(tiny.ARCHITECTURE, smallest), meanwhile)
    load_weights(build(tiny.ARCHITECTURE, wanted), device.disk.student(job.profile.id))
    assert site.doing.index("warms up") < site.doing.index("trained")
    assert job.verdict is not None


def test_the_student_is_the_same_however_slowly_its_chunks_come(
    portal: anyio.from_thread.BlockingPortal, tmp_path: Path
) -> None:
    students = []
    for slow in (False, True):
        site = Site(portal, tmp_path / str(slow))
        site.plant.announce("waves")
        site.line.before = lambda request, slow=slow: (
            time.sleep(0.3) if slow and "/chunks/" in request.url.path else None
        )
        job = site.run(STRICT)
        assert ("warms up" in site.doing) or not slow
        students.append(site.boot().disk.student(job.profile.id))
    assert students[0] == students[1]


def test_what_a_device_holds_of_the_version_before_is_updated_by_deltas(site: Site) -> None:
    first = site.run()
    updated = tiny.updated()
    site.plant.announce("waves", updated, version=2)
    job = site.run()
    assert job.model is not None
    assert (job.model.version, job.model.updates) == (2, tiny.family().digest)
    sent = [each for delivery in site.plant.deliveries(job.id) for each in delivery.chunks]
    deltas = [each for each in sent if isinstance(each.recipe, DeltaRecipe)]
    assert deltas
    disk = site.boot().disk
    for delta in deltas:
        assert delta.base is not None
        assert disk.has(delta.base)
        assert delta.makes is not None
        assert disk.chunk(delta.makes) == weights_chunk(updated, delta.recipe.of)
        assert not disk.has(delta.digest)
    assert delta.makes in disk.reference(job.profile.id)
    again = site.run()
    resent = {each.recipe for row in site.plant.deliveries(again.id) for each in row.chunks}
    assert not resent & {each.recipe for each in sent}
    assert first.state is job.state is again.state is JobState.ENDED


def test_a_device_outlives_an_outage_and_goes_on_when_the_server_is_back(site: Site) -> None:
    job_id = site.submit()
    pauses: list[float] = []
    down = True

    def refuse(_: httpx2.Request) -> None:
        if down:
            raise httpx2.ConnectError("refused")

    def wait(seconds: float) -> None:
        nonlocal down
        pauses.append(seconds)
        down = len(pauses) < 8

    device = site.boot()
    site.line.before, device._pause = refuse, wait
    device.run(wait_s=0)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert site.plant.job(job_id).state is JobState.ENDED


def test_a_job_cancelled_while_its_student_trains_stops_the_training(site: Site) -> None:
    """The next progress report is refused: nothing more is trained, and the loop goes on."""
    job_id = site.submit()
    who = Principal(id="opr-00000000-0000000000000000", role=Role.OPERATOR)
    steps: list[float] = []

    class Cancelled(QuickWorkbench):
        def train(self, work, weights, behaviour, progress):
            def count(share: float) -> None:
                steps.append(share)
                request = Request("cancel", "digest", who, Cancel(job_id))
                site.plant._apply(site.plant.shard, request)
                progress(share)

            return super().train(work, weights, behaviour, count)

    site.bench = Cancelled(DeviceModel(anchor_latency_ms=2, memory_bytes=2_000_000))
    site.boot().run(wait_s=0)
    assert steps == [0.5]  # of two steps
    assert site.plant.job(job_id).state is JobState.CANCELLED
    assert not site.boot().disk.has_student(site.plant.job(job_id).profile.id)
