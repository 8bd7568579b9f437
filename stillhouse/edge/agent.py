"""The device's loop: ask for work, do it, report; again until no job is open.

Runs on a real device without Ray. What it must remember is on its disk, so it may be killed at any
moment: the server offers the same work again, and what was done is found. Chunks that training does
not need at once arrive behind it, in a second thread; until they are there the device has a small
student of its own.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from stillhouse.edge.fetch import Fetcher
from stillhouse.edge.slots import Disk
from stillhouse.edge.train import Training
from stillhouse.edge.workbench import Workbench
from stillhouse.entities import (
    DistillationJob,
    EdgeModelProfile,
    ProfileSpec,
    Role,
    WeightsRecipe,
)
from stillhouse.errors import Conflict, Gone, Unavailable, VerificationFailed
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

TRIES = 3  # of what does not verify
LONGEST_PAUSE_S = 60.0  # between two questions, while the server does not answer
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
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.http = http
        self.disk = Disk(folder)
        self.client_id = ""
        self._identity, self._bench = identity, bench
        self._heard, self._pause = heard, pause
        self._cursor = ""
        self._reported = 0.0
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="chunks")
        self._arriving: tuple[str, Future[None]] | None = None  # the delivery, and its rest
        self._second: SignedClient | None = None

    @property
    def wire_bytes(self) -> int:
        """All that went over its connections, in both directions."""
        return self.http.wire_bytes + (self._second.wire_bytes if self._second else 0)

    def close(self) -> None:
        self._behind.shutdown()
        for each in (self.http, self._second):
            if each is not None:
                each.close()

    def join(self, holdings: tuple[str, ...] = ()) -> str:
        """Enrol, and pin the cluster's keys at the first time; this client's id."""
        self.client_id = enrol(self.http, self._identity, Role.CLIENT, holdings).principal_id
        anchors = self.disk.anchors()
        if anchors is None:
            anchors = trust_anchors(self.http)
            self.disk.pin(anchors)
        keys = anchors.manifest_keys
        self._fetcher = Fetcher(self.http, self._identity, self.disk, keys, self.client_id)
        self._second = self.http.twin()
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
        """Work until no job of this client is open, through outages however long.

        What does not verify is tried TRIES times in a row, from the beginning; then it raises.
        """
        failed = outages = 0
        while True:
            try:
                if not self.step(wait_s).open_jobs:
                    return
                failed = outages = 0
            except Unavailable as error:
                outages += 1
                self._heard(f"waits for the server: {error}")
                self._pause(min(LONGEST_PAUSE_S, 2.0**outages))
            except VerificationFailed as error:
                failed += 1
                if failed == TRIES:
                    raise
                self._heard(f"tries again: {error}")

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
                self._fetch(item)
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

    def _fetch(self, work: FetchWork) -> None:
        """What training needs first; the rest goes on arriving behind it."""
        if self._arriving is not None:
            delivery_id, rest = self._arriving
            if delivery_id == work.delivery_id and not rest.done():
                return
        self._all_arrived()
        manifest = self._fetcher.begin(work)
        if manifest.body.train_after + 1 < len(manifest.body.chunks) and self._second is not None:
            fetcher = self._fetcher.over(self._second)
            left = self._behind.submit(fetcher.finish, work, manifest)
            self._arriving = (work.delivery_id, left)

    def _all_arrived(self) -> None:
        """Wait for what arrives in the second thread; raises what stopped it."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving[1].result()

    def _warm_up(self, work: TrainWork) -> None:
        """A small student of its own for the time until all chunks are there: the first of the
        path, personalised with the behaviour that has arrived. A student that runs already is not
        replaced by it."""
        first, recipe = work.weights[0], work.training
        if self.disk.has_student(work.profile_id) or not isinstance(first.recipe, WeightsRecipe):
            return
        steps = {"steps": recipe.warmup_steps}
        small = work.model_copy(
            update={
                "student": first.recipe.student,
                "weights": (first,),
                "behaviour": tuple(each for each in work.behaviour if self.disk.has(each.digest)),
                "training": recipe.model_copy(update=steps),
            }
        )
        self._heard("warms up")
        self._install(small)
        self._heard(f"runs {small.student} meanwhile")

    def _train(self, work: TrainWork) -> None:
        chunks = (*work.weights, *work.behaviour)
        if not all(self.disk.has(chunk.digest) for chunk in chunks):
            self._warm_up(work)
        self._all_arrived()
        training = self._install(work, self._report_installation)
        self._heard("rolled back" if training.rolled_back else "trained")
        self._progress(work, 1.0, done=True)

    def _install(
        self,
        work: TrainWork,
        received: Callable[[TrainWork, Sequence[bytes]], None] = lambda *_: None,
    ) -> Training:
        """Train, test, then make it the current student; `received` hears of it before that."""
        weights = [self.disk.chunk(chunk.digest) for chunk in work.weights]
        behaviour = [self.disk.chunk(chunk.digest) for chunk in work.behaviour]
        received(work, weights)

        def progress(share: float) -> None:
            if time.monotonic() - self._reported > PROGRESS_S:
                self._progress(work, share)

        trained, training = self._bench.train(work, weights, behaviour, progress)
        slot = self.disk.stage(work.profile_id, trained)
        if not self._bench.self_test(work.card, work.student, trained):
            raise VerificationFailed(f"the trained {work.student} failed its self-test")
        reference = tuple(chunk.digest for chunk in work.weights)
        self.disk.switch(work.profile_id, slot, reference)
        return training

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
