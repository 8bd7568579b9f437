"""What can be asked, each said once: method, path, body, and how the answer is read.

Both clients send these. `key` is the idempotency key of a command: without one the client draws it;
the same key again gets the answer of the first time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from stillhouse.entities import (
    DEADLINE_S,
    CentralModel,
    CentralModelSpec,
    DistillationJob,
    EdgeModelProfile,
    Entity,
    JobState,
    Priority,
    ProfileSpec,
    VerdictKind,
)
from stillhouse.estimates import Preview
from stillhouse.wire.endpoints import PATH, Endpoints
from stillhouse.wire.messages import (
    AliasRequest,
    DeadLetterList,
    Explanation,
    JobGraph,
    JobList,
    JobRequest,
    JobStatus,
    KeysRequest,
    ModelList,
    ProfileList,
    TrustAnchors,
    UploadRequest,
)

OVER = ("ENDED", "FAILED", "CANCELLED", "EXPIRED")
DRY_RUN = "dry_run=true"
PART_BYTES = 4 << 20  # of an upload

T = TypeVar("T")
E = TypeVar("E", bound=Entity)


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


class VersionList(Entity):
    """A page of the versions of one central model."""

    versions: tuple[Version, ...]
    next_cursor: str | None


class AliasTarget(Entity):
    """The version that an alias means."""

    name: str
    alias: str
    version: int


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    key: str | None = None


def get(path: str, model: type[E], **query: object) -> Call[E]:
    given = {name: value for name, value in query.items() if value is not None}
    return Call("GET", path, reads(model), query=urlencode(given))


def post(path: str, model: type[E], body: Entity | None, key: str | None) -> Call[E]:
    content = None if body is None else body.model_dump_json().encode()
    return Call("POST", path, reads(model), content, kind_of(body), key=key)


def reads(model: type[E]) -> Callable[[bytes], E]:
    """Strict but for what a newer server may have added to a version."""
    extra = "ignore" if issubclass(model, Version | VersionList | Measured) else None
    return lambda content: model.model_validate_json(content, extra=extra)  # type: ignore[arg-type]


def kind_of(body: Entity | None) -> dict[str, str]:
    return {} if body is None else {"content-type": "application/json"}


def nothing(_: bytes) -> None:
    """The answer has no document."""


# --- profiles ---


def create_profile(
    client_id: str, spec: ProfileSpec, *, key: str | None = None
) -> Call[EdgeModelProfile]:
    """Declare what a device can afford."""
    return post(f"/clients/{client_id}/edge_model_profile", EdgeModelProfile, spec, key)


def profile(client_id: str, profile_id: str) -> Call[EdgeModelProfile]:
    """One profile."""
    return get(f"/clients/{client_id}/edge_model_profile/{profile_id}", EdgeModelProfile)


def profiles(
    client_id: str, *, limit: int | None = None, cursor: str | None = None
) -> Call[ProfileList]:
    """A page of a client's profiles, oldest first."""
    path = f"/clients/{client_id}/edge_model_profile"
    return get(path, ProfileList, limit=limit, cursor=cursor)


def replace_profile(
    client_id: str, profile_id: str, spec: ProfileSpec, revision: int, *, key: str | None = None
) -> Call[EdgeModelProfile]:
    """A new revision in the place of `revision`; PreconditionFailed if that is not the last."""
    path = f"/clients/{client_id}/edge_model_profile/{profile_id}"
    headers = {**kind_of(spec), "if-match": f'"{revision}"'}
    body = spec.model_dump_json().encode()
    return Call("PUT", path, reads(EdgeModelProfile), body, headers, key=key)


def delete_profile(
    client_id: str, profile_id: str, revision: int, *, key: str | None = None
) -> Call[None]:
    """ProfileInUse while a job uses it."""
    path = f"/clients/{client_id}/edge_model_profile/{profile_id}"
    return Call("DELETE", path, nothing, headers={"if-match": f'"{revision}"'}, key=key)


# --- distillation jobs ---


def submit(
    client_id: str,
    central_model: str,
    profile_id: str,
    *,
    priority: Priority = Priority.NORMAL,
    deadline_s: float = DEADLINE_S,
    key: str | None = None,
) -> Call[DistillationJob]:
    """Submit a job (`name`, `name@version` or `name@alias`); it waits if the model is not there."""
    body = JobRequest(
        client_id=client_id,
        central_model_version=central_model,
        edge_model_profile_id=profile_id,
        priority=priority,
        deadline_s=deadline_s,
    )
    return post("/distillation_jobs", DistillationJob, body, key)


def plan_job(client_id: str, central_model: str, profile_id: str) -> Call[Preview]:
    """What that job would begin with: its plan, alternatives, or verdict. Nothing is created.

    ModelAbsent (409) where the job would wait for its central model.
    """
    body = JobRequest(
        client_id=client_id,
        central_model_version=central_model,
        edge_model_profile_id=profile_id,
    )
    content = body.model_dump_json().encode()
    return Call("POST", "/distillation_jobs", reads(Preview), content, kind_of(body), DRY_RUN)


def jobs(
    *,
    client_id: str | None = None,
    state: JobState | None = None,
    verdict: VerdictKind | None = None,
    central_model: str | None = None,
    edge_model_profile_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[JobList]:
    """A page of jobs, newest first: a client's own, or everybody's for an operator."""
    return get(
        "/distillation_jobs",
        JobList,
        client_id=client_id,
        state=state,
        verdict=verdict,
        central_model=central_model,
        edge_model_profile_id=edge_model_profile_id,
        limit=limit,
        cursor=cursor,
    )


def status(job_id: str) -> Call[JobStatus]:
    """All that is known of a job."""
    return get(f"/distillation_jobs/{job_id}/status", JobStatus)


def graph(job_id: str) -> Call[JobGraph]:
    """Its graph alone."""
    return get(f"/distillation_jobs/{job_id}/graph", JobGraph)


def explanation(job_id: str) -> Call[Explanation]:
    """The reasons alone."""
    return get(f"/distillation_jobs/{job_id}/explanation", Explanation)


def cancel(job_id: str, *, key: str | None = None) -> Call[DistillationJob]:
    """End a job without a verdict; again is no error."""
    return post(f"/distillation_jobs/{job_id}/cancel", DistillationJob, None, key)


# --- dead letters ---


def dead_letters(*, limit: int | None = None, cursor: str | None = None) -> Call[DeadLetterList]:
    """A page of what failed for good and waits for a replay, newest first; for operators."""
    return get("/dead_letters", DeadLetterList, limit=limit, cursor=cursor)


def replay(letter_id: str, *, key: str | None = None) -> Call[DistillationJob]:
    """The job of a dead letter goes on where it failed."""
    return post(f"/dead_letters/{letter_id}/replay", DistillationJob, None, key)


# --- keys ---


def add_keys(client_id: str, keys: KeysRequest, *, key: str | None = None) -> Call[None]:
    """New keys beside the old ones, vouched for by them."""
    path, body = f"/clients/{client_id}/keys", keys.model_dump_json().encode()
    return Call("POST", path, nothing, body, kind_of(keys), key=key)


def revoke_keys(client_id: str, number: int, *, key: str | None = None) -> Call[None]:
    """Refused everywhere within five seconds."""
    return Call("DELETE", f"/clients/{client_id}/keys/{number}", nothing, key=key)


# --- the deployment, and central models ---


def endpoints() -> Call[Endpoints]:
    """Where its API answers; the fixed URL comes last."""
    return get(PATH, Endpoints)


def anchors() -> Call[TrustAnchors]:
    """The cluster's public keys."""
    return get("/trust_anchors", TrustAnchors)


def models(*, limit: int | None = None, cursor: str | None = None) -> Call[ModelList]:
    """A page of central models, by name."""
    return get("/central_models", ModelList, limit=limit, cursor=cursor)


def versions(
    name: str, *, limit: int | None = None, cursor: str | None = None
) -> Call[VersionList]:
    """A page of a model's versions, oldest first."""
    return get(f"/central_models/{name}/versions", VersionList, limit=limit, cursor=cursor)


def version(name: str, number: int) -> Call[Version]:
    """Where a version stands."""
    return get(f"/central_models/{name}/versions/{number}", Version)


def start_version(name: str, spec: CentralModelSpec, *, key: str | None = None) -> Call[Version]:
    """Begin an upload; `spec.files` are the digests of the sealed files to come."""
    return post(f"/central_models/{name}/versions", Version, UploadRequest(spec=spec), key)


def set_alias(name: str, alias: str, number: int, *, key: str | None = None) -> Call[None]:
    """Point an alias to a version."""
    path, body = f"/central_models/{name}/aliases/{alias}", AliasRequest(version=number)
    return Call("PUT", path, nothing, body.model_dump_json().encode(), kind_of(body), key=key)


def alias(name: str, alias: str) -> Call[AliasTarget]:
    """The version that an alias means now."""
    return get(f"/central_models/{name}/aliases/{alias}", AliasTarget)


def parts(name: str, number: int, file: str, data: bytes) -> Iterator[Call[None]]:
    """A sealed file in parts, to be sent in order; a part that is there already changes nothing."""
    path = f"/central_models/{name}/versions/{number}/files/{quote(file, safe='')}"
    for first in range(0, len(data), PART_BYTES):
        part = data[first : first + PART_BYTES]
        headers = {
            "content-type": "application/octet-stream",
            "content-range": f"bytes {first}-{first + len(part) - 1}/{len(data)}",
        }
        yield Call("PUT", path, nothing, part, headers)
