"""The device's loop: ask for work, do it, report; again until no job is open.

Runs on a real device without Ray. What it must remember is on its disk, so it may be killed at any
moment: the server offers the same work again, and what was done is found.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stillhouse.edge.fetch import Fetcher
from stillhouse.edge.slots import Disk
from stillhouse.edge.workbench import Workbench
from stillhouse.entities import (
    DistillationJob,
    EdgeModelProfile,
    KnowledgeChunk,
    ProfileSpec,
    Role,
    Student,
    WeightsRecipe,
)
from stillhouse.errors import Conflict, VerificationFailed
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity
from stillhouse.wire.manifest import Manifest
from stillhouse.wire.membership import enrol, trust_anchors
from stillhouse.wire.messages import (
    FetchWork,
    InstallationReport,
    JobRequest,
    MeasureWork,
    ProbeReport,
    ProbeWork,
    Progress,
    TrainWork,
    Work,
    WorkItem,
)

PROGRESS_S = 5.0  # at most one report in this time: enough to keep any lease


class Agent:
    """One device: an identity, a disk, a workbench."""

    def __init__(
        self,
        http: SignedClient,
        identity: Identity,
        folder: Path,
        bench: Workbench,
        heard: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.http = http
        self.disk = Disk(folder)
        self.client_id = ""
        self._identity, self._bench, self._heard = identity, bench, heard
        self._cursor = ""
        self._reported = 0.0

    def join(self, holdings: tuple[str, ...] = ()) -> str:
        """Enrol and pin the cluster's keys; this client's id."""
        self.client_id = enrol(self.http, self._identity, Role.CLIENT, holdings).principal_id
        keys = trust_anchors(self.http).manifest_keys
        self._fetcher = Fetcher(self.http, self._identity, self.disk, keys, self.client_id)
        return self.client_id

    def declare(self, spec: ProfileSpec) -> EdgeModelProfile:
        path = f"/clients/{self.client_id}/edge_model_profile"
        return EdgeModelProfile.model_validate_json(self.http.command("POST", path, spec).content)

    def submit(self, central_model: str, profile_id: str) -> DistillationJob:
        request = JobRequest(
            client_id=self.client_id,
            central_model_version=central_model,
            edge_model_profile_id=profile_id,
        )
        answer = self.http.command("POST", "/distillation_jobs", request)
        return DistillationJob.model_validate_json(answer.content)

    def run(self, wait_s: float = 20.0) -> None:
        """Work until no job of this client is open."""
        while self.step(wait_s).open_jobs:
            pass

    def step(self, wait_s: float) -> Work:
        """One question, and everything that the answer asks for."""
        query = f"wait={wait_s:g}&cursor={self._cursor}"
        work = self.http.read(Work, f"/clients/{self.client_id}/work", query)
        self._cursor = work.cursor
        for item in work.items:
            try:
                self._do(item)
            except Conflict as error:  # the job has moved on: ask again
                self._heard(f"{item.node}: {error}")
        return work

    def _do(self, item: WorkItem) -> None:
        self._heard(item.node)
        match item:
            case ProbeWork():
                self._probe(item)
            case FetchWork():
                self._fetch(item)
            case TrainWork():
                self._train(item)
            case MeasureWork():
                self._measure(item)

    def _probe(self, work: ProbeWork) -> None:
        report = ProbeReport(attempt=work.attempt, probes=self._bench.probe(work))
        self.http.command("POST", f"/distillation_jobs/{work.job_id}/probes", report)

    def _fetch(self, work: FetchWork) -> None:
        manifest = self._fetcher.fetch(work)
        header, body = manifest.header, manifest.body
        answers = self._bench.answers(body.card, body.student, self._weights(manifest))
        report = InstallationReport(
            manifest_digest=manifest.digest, version=header.version, probe_answers=answers
        )
        path = f"/deliveries/{header.delivery_id}/installation_report"
        self.http.command("POST", path, report)

    def _train(self, work: TrainWork) -> None:
        weights = [self.disk.chunk(chunk.digest) for chunk in work.weights]
        behaviour = [self.disk.chunk(chunk.digest) for chunk in work.behaviour]

        def progress(share: float) -> None:
            if time.monotonic() - self._reported > PROGRESS_S:
                self._progress(work, share)

        trained, training = self._bench.train(work, weights, behaviour, progress)
        slot = self.disk.stage(work.profile_id, trained)
        if not self._bench.self_test(work.card, work.student, trained):
            raise VerificationFailed(f"the trained {work.student} failed its self-test")
        self.disk.switch(work.profile_id, slot)
        self._heard("rolled back" if training.rolled_back else "trained")
        self.disk.keep_reference(work.profile_id, [chunk.digest for chunk in work.weights])
        self._progress(work, 1.0, done=True)

    def _measure(self, work: MeasureWork) -> None:
        trained = self.disk.student(work.profile_id)
        size = sum(len(self.disk.chunk(digest)) for digest in self.disk.reference(work.profile_id))
        metric = self._bench.measure(work, trained, size)
        self.http.command("POST", f"/distillation_jobs/{work.job_id}/metrics", metric)

    def _progress(self, work: TrainWork, share: float, *, done: bool = False) -> None:
        self._reported = time.monotonic()
        report = Progress(node=work.node, attempt=work.attempt, share=share, done=done)
        path = f"/clients/{self.client_id}/work/{work.job_id}/progress"
        self.http.command("POST", path, report)

    def _weights(self, manifest: Manifest) -> list[bytes]:
        """The weights chunks of the manifest's student, in the order in which they build on each
        other; those held before are there already."""
        body = manifest.body
        every = [*body.held, *(entry.chunk for entry in body.chunks)]
        return [self.disk.chunk(chunk.digest) for chunk in chain_to(body.student, every)]


def chain_to(student: Student, chunks: Sequence[KnowledgeChunk]) -> list[KnowledgeChunk]:
    """The chunks that lead to `student`, first to last; VerificationFailed if one is missing."""
    by_student = {
        chunk.recipe.student: chunk for chunk in chunks if isinstance(chunk.recipe, WeightsRecipe)
    }
    chain: list[KnowledgeChunk] = []
    wanted: Student | None = student
    while wanted is not None:
        if wanted not in by_student:
            raise VerificationFailed(f"no chunk leads to {wanted}")
        chain.append(by_student.pop(wanted))
        recipe = chain[-1].recipe
        wanted = recipe.base if isinstance(recipe, WeightsRecipe) else None
    return chain[::-1]
