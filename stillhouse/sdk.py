"""The Python client: profiles and jobs for clients and operators, central models for owners."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from stillhouse.entities import (
    CentralModel,
    CentralModelSpec,
    DistillationJob,
    EdgeModelProfile,
    Entity,
    ProfileSpec,
    Role,
)
from stillhouse.errors import StillhouseError
from stillhouse.wire.client import TRIES, SignedClient
from stillhouse.wire.identity import Identity
from stillhouse.wire.membership import enrol, trust_anchors
from stillhouse.wire.messages import JobRequest, JobStatus, TrustAnchors, UploadRequest
from stillhouse.wire.seal import seal_artefact

OVER = ("ENDED", "FAILED", "CANCELLED", "EXPIRED")
PART_BYTES = 4 << 20


class Measured(Entity):
    """What the system measured of a central model."""

    accuracy: float
    accuracy_se: float
    size_bytes: int
    parameters: int


class Version(Entity):
    """What an owner needs of a version's document; the rest is left out."""

    name: str
    version: int
    state: str
    why: str
    build_progress: float
    family_reused: bool = False
    measured: Measured | None = None
    model: CentralModel | None = None

    @property
    def registered_accuracy(self) -> float:
        """As the system measured it; AttributeError before it has."""
        return self.measured.accuracy  # type: ignore[union-attr]

    @property
    def size_bytes(self) -> int:
        return self.measured.size_bytes  # type: ignore[union-attr]


class Stillhouse:
    """One principal at one deployment."""

    def __init__(
        self, endpoints: Sequence[str], identity: Identity, role: Role, tries: int = TRIES
    ) -> None:
        self.http = SignedClient(endpoints, identity, tries=tries)
        self.role = role
        self._identity = identity

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def enrol(self) -> str:
        """Join (loopback development mode); this principal's id."""
        return enrol(self.http, self._identity, self.role).principal_id

    def anchors(self) -> TrustAnchors:
        return trust_anchors(self.http)

    def create_profile(self, client_id: str, spec: ProfileSpec) -> EdgeModelProfile:
        answer = self.http.command("POST", f"/clients/{client_id}/edge_model_profile", spec)
        return EdgeModelProfile.model_validate_json(answer.content)

    def submit(self, client_id: str, central_model: str, profile_id: str) -> DistillationJob:
        """Submit a job; it waits if the central model is not there yet."""
        body = JobRequest(
            client_id=client_id,
            central_model_version=central_model,
            edge_model_profile_id=profile_id,
        )
        answer = self.http.command("POST", "/distillation_jobs", body)
        return DistillationJob.model_validate_json(answer.content)

    def status(self, job_id: str) -> JobStatus:
        return self.http.read(JobStatus, f"/distillation_jobs/{job_id}/status")

    def cancel(self, job_id: str) -> DistillationJob:
        answer = self.http.command("POST", f"/distillation_jobs/{job_id}/cancel")
        return DistillationJob.model_validate_json(answer.content)

    def wait(self, job_id: str, timeout_s: float, poll_s: float = 0.5) -> JobStatus:
        """The status once the job is over; TimeoutError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (found := self.status(job_id)).job.state not in OVER:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is {found.job.state} after {timeout_s:g} s")
            time.sleep(poll_s)
        return found

    def register(self, name: str, spec: CentralModelSpec, files: Mapping[str, bytes]) -> Version:
        """Seal and upload a central model; `spec.files` is filled in here."""
        key = bytes.fromhex(self.anchors().cluster_key)
        sealed = {
            file: seal_artefact(data, key, f"upload/{name}/{file}") for file, data in files.items()
        }
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in sealed.items()}
        body = UploadRequest(spec=spec.model_copy(update={"files": digests}))
        answer = self.http.command("POST", f"/central_models/{name}/versions", body)
        version = read_version(answer.content)
        for file, data in sealed.items():
            self._upload(f"/central_models/{name}/versions/{version.version}/files/{file}", data)
        return self.version(name, version.version)

    def version(self, name: str, version: int) -> Version:
        path = f"/central_models/{name}/versions/{version}"
        return read_version(self.http.send("GET", path, None, {}).content)

    def wait_available(
        self, version: Version, timeout_s: float, heard: Callable[[Version], None] = lambda _: None
    ) -> Version:
        """Until the system has measured it and built its family; `heard` gets each state."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.version(version.name, version.version)
            heard(found)
            if found.state == "AVAILABLE":
                return found
            if found.state == "FAILED" or time.monotonic() > deadline:
                raise StillhouseError(f"{found.name}@{found.version} is {found.state}: {found.why}")
            time.sleep(0.5)

    def _upload(self, path: str, data: bytes) -> None:
        for first in range(0, len(data), PART_BYTES):
            part = data[first : first + PART_BYTES]
            place = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
            kind = {"content-type": "application/octet-stream", "content-range": place}
            self.http.send("PUT", path, part, kind)


def read_version(content: bytes) -> Version:
    return Version.model_validate_json(content, extra="ignore")
