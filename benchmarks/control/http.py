"""Whole jobs over signed HTTP: direct ingress, two replicas, two shards, clients on the same cores.

What a device sends is sent, by the SDK's own signed client, one connection pool for all:
submission, probes, asking for work, manifest, acks, installation, training's end, metrics, status.
Effects answer at once with canned results (`Canned`), and chunks are not fetched: what is measured
is the control core and its API, not planning, sealing or streaming.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import ray

from actors import start as wiring
from actors.desk import own
from actors.job_manager import JobManager
from actors.settings import ActorSettings
from actors.start import CALLS, actor
from benchmarks.control.workload import CHUNKS, MET, PLAN, announced, delivery
from benchmarks.makers import PROBES, SPEC, metric
from benchmarks.report import Value
from cluster.connect import ClusterSettings, connect
from edge_sim.deployment import free_ports
from serve_app.deployment import ApiSettings, run
from stillhouse.commands import (
    Compressed,
    ConfirmEnrolment,
    CreateProfile,
    Decided,
    Enrol,
    Planned,
)
from stillhouse.decisions import Effect, Request
from stillhouse.entities import DistillationJob, Entity, Principal, Role
from stillhouse.ids import derived_id, shard_of
from stillhouse.jobs import Kind
from stillhouse.rows import DeliveryRow, KeyPair
from stillhouse.wire.client import AsyncSignedClient
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import (
    Ack,
    InstallationReport,
    JobRequest,
    JobStatus,
    ProbeReport,
    Progress,
    Work,
)

SIDE_BY_SIDE = 48  # jobs under way
FIRST_PORT = 31_000


class Canned(JobManager):
    """A JobManager whose effects are done as soon as they start."""

    def _start(self, started: Sequence[Effect]) -> None:
        results = [own(self._result(effect)) for effect in started]
        if results:
            self._pipeline.apply(results, time.time())

    def _result(self, effect: Effect) -> Any:
        place = (effect.job_id, effect.node, effect.attempt)
        if effect.kind == Kind.PLAN:
            return Planned(*place, PLAN)
        if effect.kind == Kind.DECIDE:
            return Decided(*place, MET)
        job = self.rows([effect.job_id])[effect.job_id]
        return Compressed(*place, sent_to(job.client_id, job.id))


def sent_to(client_id: str, job_id: str) -> DeliveryRow:
    """The delivery of a client's job: its device knows it without opening anything."""
    return delivery(client_id, derived_id("prf", client_id, 1), job_id, 1, CHUNKS)


def measure_http(folder: Path, jobs: int) -> dict[str, Value]:
    """Jobs a second from submission to MET, and requests that each took."""
    api_port, chunk_port = free_ports(2)
    settings = ActorSettings(
        state=folder / "state",
        detached=False,
        ingress="direct",
        replica_port=FIRST_PORT,
        api_port=api_port,
        chunk_port=chunk_port,
    )
    connect(ClusterSettings(), settings.ingress, settings.replica_port)
    try:
        wiring.initialise(settings)
        managers = [
            actor(Canned, settings.manager(shard), settings, max_concurrency=CALLS).remote(
                settings, shard
            )
            for shard in range(settings.shards)
        ]
        wiring.start(settings)
        run(ApiSettings(actors=settings))
        prepare(managers, people(jobs))
        return drive(settings, jobs)
    finally:
        ray.shutdown()


def people(jobs: int) -> list[Identity]:
    """A client for each job."""
    return [Identity.derive(b"bench %d" % number) for number in range(jobs)]


def prepare(managers: Sequence[Any], clients: Sequence[Identity]) -> None:
    """Enrolled, with a profile; the central model is announced. Not measured."""
    for manager in managers:
        ray.get(manager.apply.remote([announced()]))
    waiting = []
    for identity in clients:
        id = identity.id(Role.CLIENT)
        who = Principal(id=id, role=Role.CLIENT)
        enrolment = derived_id("enr", id)
        keys = KeyPair(1, identity.public.sign, identity.public.receive)
        commands = (
            Enrol(enrolment, Role.CLIENT, keys, (), "cc" * 32, "dd"),
            ConfirmEnrolment(enrolment, "cc" * 32),
            CreateProfile(id, derived_id("prf", id, 1), SPEC),
        )
        batch = [Request("", "", who, command) for command in commands]
        waiting.append(managers[shard_of(id, len(managers))].apply.remote(batch))
    ray.get(waiting)


def drive(settings: ActorSettings, jobs: int) -> dict[str, Value]:
    """From a process of its own, as devices are."""
    fixed = f"http://{settings.host}:{settings.api_port}"
    urls = httpx2.get(f"{fixed}/endpoints").json()["endpoints"]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(drive_here, (urls[:-1], jobs))


def drive_here(urls: Sequence[str], jobs: int) -> dict[str, Value]:
    clients = people(jobs)
    warm = clients[: len(clients) // 5]
    asyncio.run(play_all(urls, warm))
    rest = clients[len(warm) :]
    wall, cpu = time.perf_counter(), time.process_time()
    requests, slowest = asyncio.run(play_all(urls, rest))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "jobs": len(rest),
        "wall_s": wall,
        "client_cpu_s": cpu,
        "jobs_http_per_s": len(rest) / wall,
        "requests_per_job": requests / len(rest),
        "requests_per_s": requests / wall,
        "slowest_job_s": slowest,
    }


async def play_all(urls: Sequence[str], clients: Sequence[Identity]) -> tuple[int, float]:
    """All jobs, some side by side; the number of requests, and the seconds of the slowest job."""
    limits = httpx2.Limits(max_connections=SIDE_BY_SIDE, max_keepalive_connections=SIDE_BY_SIDE)
    turns = asyncio.Semaphore(SIDE_BY_SIDE)
    async with httpx2.AsyncHTTPTransport(limits=limits) as transport:

        async def one(number: int, identity: Identity) -> tuple[int, float]:
            async with turns:
                began = time.perf_counter()
                own_first = [*urls[number % len(urls) :], *urls[: number % len(urls)]]
                device = Device(own_first, identity, transport)
                await device.play()
                return device.requests, time.perf_counter() - began

        done = await asyncio.gather(*(one(*each) for each in enumerate(clients)))
    return sum(requests for requests, _ in done), max(seconds for _, seconds in done)


class Device:
    """One client's whole job."""

    def __init__(
        self, urls: Sequence[str], identity: Identity, transport: httpx2.AsyncBaseTransport
    ) -> None:
        self._http = AsyncSignedClient(urls, identity, transport=transport)
        self._id = identity.id(Role.CLIENT)
        self._http.key_id = f"{self._id}/1"
        self.requests = 0

    async def play(self) -> None:
        request = JobRequest(
            client_id=self._id,
            central_model_version="wrist",
            edge_model_profile_id=derived_id("prf", self._id, 1),
        )
        answer = await self.post("/distillation_jobs", request)
        id = DistillationJob.model_validate_json(answer).id
        await self.post(f"/distillation_jobs/{id}/probes", ProbeReport(attempt=1, probes=PROBES))
        item = await self.work("fetch")
        sent = sent_to(self._id, id)
        await self.get(f"/deliveries/{item.delivery_id}/manifest")
        for index, ack in enumerate(sent.expected_acks):
            await self.post(f"/deliveries/{sent.id}/acks", Ack(index=index, ack=ack))
        report = InstallationReport(
            manifest_digest=sent.envelope_digest, version=1, probe_answers=()
        )
        await self.post(f"/deliveries/{sent.id}/installation_report", report)
        progress = Progress(node="r1.train", attempt=1, share=1.0, done=True)
        await self.post(f"/clients/{self._id}/work/{id}/progress", progress)
        await self.post(f"/distillation_jobs/{id}/metrics", metric(1))
        while (await self.status(id)).verdict is None:
            await self.get(f"/clients/{self._id}/work", "wait=5")

    async def work(self, kind: str) -> Any:
        """The next piece of work of this kind; long polls until there is one."""
        cursor = ""
        while True:
            query = f"wait=5&cursor={cursor}" if cursor else ""
            work = Work.model_validate_json(await self.get(f"/clients/{self._id}/work", query))
            found = [item for item in work.items if item.kind == kind]
            if found:
                return found[0]
            cursor = work.cursor

    async def status(self, id: str) -> JobStatus:
        answer = await self.get(f"/distillation_jobs/{id}/status")
        return JobStatus.model_validate_json(answer)

    async def post(self, path: str, body: Entity) -> bytes:
        self.requests += 1
        content = body.model_dump_json().encode()
        headers = {"content-type": "application/json"}
        return (await self._http.send("POST", path, content, headers)).content

    async def get(self, path: str, query: str = "") -> bytes:
        self.requests += 1
        return (await self._http.send("GET", path, None, {}, query)).content
