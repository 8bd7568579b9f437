"""What the tests hold the API to: a valid body for every route that reads one, and who may ask it.

Ids are well formed and of nobody. The table of roles is written out here a second time, on purpose.
"""

import json
from typing import Any

from api_house import SPEC
from fakes import LocalBackend

from serve_app.app import create_routes
from stillhouse.entities import (
    ArchitectureSpec,
    CentralModelSpec,
    DistillationMetric,
    Entity,
    Preprocessing,
    ProbeResult,
    Role,
    Student,
)
from stillhouse.versions import FILES
from stillhouse.wire.identity import Identity, sign_enrolment
from stillhouse.wire.messages import (
    Ack,
    AliasRequest,
    Confirmation,
    EnrolmentRequest,
    InstallationReport,
    JobRequest,
    KeysRequest,
    ProbeReport,
    Progress,
    UploadRequest,
)

NAMES = {
    "client_id": "cli-00000000-0000000000000000",
    "profile_id": "prf-00000000-0000000000000000",
    "job_id": "job-00000000-0000000000000000",
    "delivery_id": "dlv-00000000-0000000000000000",
    "letter_id": "dlt-00000000-0000000000000000",
    "enrolment_id": "enr-00000000-0000000000000000",
    "index": "0",
    "number": "1",
    "name": "wrist",
    "version": "1",
    "file": "weights",
    "alias": "production",
}
STUDENT = Student(width=0.5, depths=(1, 1), bits=8)
NEW = Identity.derive(b"new")
CENTRAL = CentralModelSpec(
    architecture=ArchitectureSpec(id="resnet1d"),
    preprocessing=Preprocessing(window=50, step=25, mean=(0.0,), deviation=(1.0,)),
    labels=("still", "moving"),
    files=dict.fromkeys(sorted(FILES), "0" * 64),
)
SAMPLES: tuple[Entity, ...] = (
    SPEC,
    EnrolmentRequest(
        role=Role.CLIENT,
        sign_key=NEW.public.sign,
        receive_key=NEW.public.receive,
        signature=sign_enrolment(NEW, Role.CLIENT),
    ),
    KeysRequest(
        sign_key=NEW.public.sign,
        receive_key=NEW.public.receive,
        signature=sign_enrolment(NEW, Role.CLIENT),
    ),
    Confirmation(challenge="0" * 64),
    JobRequest(
        client_id=NAMES["client_id"],
        central_model_version="wrist",
        edge_model_profile_id=NAMES["profile_id"],
    ),
    ProbeReport(
        attempt=1,
        probes=(ProbeResult(student=STUDENT, latency_p50_ms=1.0, latency_p95_ms=2.0),),
    ),
    Progress(node="train/1", attempt=1, share=0.5),
    Ack(index=0, ack="0" * 64),
    InstallationReport(manifest_digest="0" * 64, version=1, probe_answers=((0.5, 0.5),)),
    DistillationMetric(
        round=1,
        student=STUDENT,
        accuracy=0.9,
        accuracy_se=0.01,
        samples=100,
        latency_p50_ms=1.0,
        latency_p95_ms=2.0,
        peak_memory_bytes=1000,
        storage_bytes=1000,
        training_time_s=1.0,
    ),
    UploadRequest(spec=CENTRAL),
    AliasRequest(version=1),
)
BODIES = {type(each).__name__: each for each in SAMPLES}

CLIENT, OWNER, OPERATOR = Role.CLIENT, Role.OWNER, Role.OPERATOR
ROLES: dict[str, set[Role]] = {
    "POST /clients/{client_id}/edge_model_profile": {CLIENT, OPERATOR},
    "GET /clients/{client_id}/edge_model_profile": {CLIENT, OPERATOR},
    "GET /clients/{client_id}/edge_model_profile/{profile_id}": {CLIENT, OPERATOR},
    "PUT /clients/{client_id}/edge_model_profile/{profile_id}": {CLIENT, OPERATOR},
    "DELETE /clients/{client_id}/edge_model_profile/{profile_id}": {CLIENT, OPERATOR},
    "POST /distillation_jobs": {CLIENT, OPERATOR},
    "GET /distillation_jobs": {CLIENT, OPERATOR},
    "GET /distillation_jobs/{job_id}/status": {CLIENT, OPERATOR},
    "GET /distillation_jobs/{job_id}/graph": {CLIENT, OPERATOR},
    "GET /distillation_jobs/{job_id}/explanation": {CLIENT, OPERATOR},
    "GET /distillation_jobs/{job_id}/story": {CLIENT, OPERATOR},
    "GET /distillation_jobs/{job_id}/events": {CLIENT, OPERATOR},
    "POST /distillation_jobs/{job_id}/cancel": {CLIENT, OPERATOR},
    "POST /distillation_jobs/{job_id}/probes": {CLIENT},
    "GET /dead_letters": {OPERATOR},
    "POST /dead_letters/{letter_id}/replay": {OPERATOR},
    "POST /distillation_jobs/{job_id}/metrics": {CLIENT},
    "POST /clients/{client_id}/keys": {CLIENT},
    "DELETE /clients/{client_id}/keys/{number}": {CLIENT, OPERATOR},
    "GET /clients/{client_id}/work": {CLIENT},
    "POST /clients/{client_id}/work/{job_id}/progress": {CLIENT},
    "GET /deliveries/{delivery_id}/manifest": {CLIENT},
    "GET /deliveries/{delivery_id}/chunks/{index}": {CLIENT},
    "POST /deliveries/{delivery_id}/acks": {CLIENT},
    "POST /deliveries/{delivery_id}/installation_report": {CLIENT},
    "GET /central_models": {CLIENT, OWNER, OPERATOR},
    "GET /central_models/{name}/versions": {CLIENT, OWNER, OPERATOR},
    "POST /central_models/{name}/versions": {OWNER},
    "PUT /central_models/{name}/versions/{version}/files/{file}": {OWNER},
    "GET /central_models/{name}/versions/{version}": {CLIENT, OWNER, OPERATOR},
    "PUT /central_models/{name}/aliases/{alias}": {OWNER},
    "GET /central_models/{name}/aliases/{alias}": {CLIENT, OWNER, OPERATOR},
}
UNSIGNED = {
    "POST /enrolments",
    "POST /enrolments/{enrolment_id}/confirmation",
    "GET /trust_anchors",
    "GET /healthz",
    "GET /readyz",
    "GET /endpoints",
}

DOCUMENT: dict[str, Any] = create_routes(LocalBackend(), open_enrolment=True).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, each in DOCUMENT["paths"].items()
    for method, operation in each.items()
}


def body_name(operation: str) -> str | None:
    """The name of the body that an operation reads as JSON; None if it reads none."""
    content = OPERATIONS[operation].get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    return schema["$ref"].rpartition("/")[2] if schema else None


WITH_JSON = sorted(each for each in OPERATIONS if body_name(each))


def document(operation: str) -> dict[str, Any]:
    """A valid body of the operation, as JSON is read."""
    found: dict[str, Any] = BODIES[body_name(operation) or ""].model_dump(mode="json")
    return found


def valid(operation: str, **changes: object) -> bytes | None:
    """A valid body of the operation, with `changes`; None if it reads none."""
    if "/files/" in operation:
        return b"sealed"
    return json.dumps({**document(operation), **changes}).encode() if body_name(operation) else None


def place(operation: str, **names: str) -> tuple[str, str]:
    """Method and path, with ids of nobody but for `names`."""
    method, _, path = operation.partition(" ")
    query = "?client_id={client_id}" if operation == "GET /distillation_jobs" else ""
    return method, (path + query).format(**{**NAMES, **names})
