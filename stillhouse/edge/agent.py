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
    ProfileSpec,
    Role,
)
from stillhouse.errors import Conflict, Gone, VerificationFailed
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity
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
        """Enrol, and pin the cluster's keys at the first time; this client's id."""
        self.client_id = enrol(self.http, self._identity, Role.CLIENT, holdings).principal_id
        anchors = self.disk.anchors()
        if anchors is None:
            anchors = trust_anchors(self.http)
            self.disk.pin(anchors)
        keys = anchors.manifest_keys
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
            except (Conflict, Gone) as error:  # the job has moved on: ask again
                self._heard(f"{item.node}: {error}")
        return work

    def _do(self, item: WorkItem) -> None:
        self._heard(item.node)
        match item:
            case ProbeWork():
                self._probe(item)
            case FetchWork():
                self._fetcher.fetch(item)
            case TrainWork():
                self._train(item)
            case MeasureWork():
                self._measure(item)

    def _probe(self, work: ProbeWork) -> None:
        report = ProbeReport(attempt=work.attempt, probes=self._bench.probe(work))
        self.http.command("POST", f"/distillation_jobs/{work.job_id}/probes", report)

    def _report_installation(self, work: TrainWork, weights: Sequence[bytes]) -> None:
        """Once a delivery, before its student is trained; a kill in between costs no report."""
        accepted = self.disk.accepted(work.profile_id)
        if accepted is None or accepted.installed or accepted.job_id != work.job_id:
            return
        report = InstallationReport(
            manifest_digest=accepted.manifest,
            version=accepted.version,
            probe_answers=self._bench.answers(work.card, work.student, weights),
        )
        path = f"/deliveries/{accepted.delivery_id}/installation_report"
        self.http.command("POST", path, report)
        self.disk.accept(work.profile_id, accepted.model_copy(update={"installed": True}))

    def _train(self, work: TrainWork) -> None:
        weights = [self.disk.chunk(chunk.digest) for chunk in work.weights]
        behaviour = [self.disk.chunk(chunk.digest) for chunk in work.behaviour]
        self._report_installation(work, weights)

        def progress(share: float) -> None:
            if time.monotonic() - self._reported > PROGRESS_S:
                self._progress(work, share)

        trained, training = self._bench.train(work, weights, behaviour, progress)
        slot = self.disk.stage(work.profile_id, trained)
        if not self._bench.self_test(work.card, work.student, trained):
            raise VerificationFailed(f"the trained {work.student} failed its self-test")
        reference = tuple(chunk.digest for chunk in work.weights)
        self.disk.switch(work.profile_id, slot, reference)
        self._heard("rolled back" if training.rolled_back else "trained")
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
