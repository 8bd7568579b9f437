"""What devices call: enrol, ask for work, report progress, probes and metrics."""

import hashlib
import secrets
import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from actors.reading import OpenJob
from serve_app.asking import ask, asked, backend, body_of, described, respond, show, signed
from serve_app.documents import work_items
from stillhouse import decisions
from stillhouse.authorization import authorize, owned
from stillhouse.commands import (
    AddKeys,
    ConfirmEnrolment,
    Enrol,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    RevokeKeys,
)
from stillhouse.enrolment import EnrolmentOffer, KeysInForce, Membership
from stillhouse.entities import DistillationMetric, Principal, Role
from stillhouse.errors import Forbidden, NotFound
from stillhouse.ids import client_hash, derived_id, principal_id
from stillhouse.monitoring import MetricReceipt
from stillhouse.rows import KeyPair
from stillhouse.versions import table_key
from stillhouse.wire.identity import PublicKeys, seal_challenge, verify_enrolment
from stillhouse.wire.messages import (
    Confirmation,
    EnrolmentRequest,
    KeysRequest,
    ProbeReport,
    Progress,
    TrustAnchors,
    Work,
    WorkItem,
)

router = APIRouter(tags=["devices"])
FIRST_KEY = 1
MAX_WAIT_S = 60.0


@router.get("/trust_anchors", response_model=TrustAnchors)
async def trust_anchors(request: Request) -> Response:
    """The cluster's public keys; in the loopback development mode, trusted on first use."""
    return show(backend(request).anchors)


@router.post(
    "/enrolments", status_code=201, response_model=EnrolmentOffer,
    openapi_extra=described(EnrolmentRequest),
)  # fmt: skip
async def enrol(request: Request, body: EnrolmentRequest = body_of(EnrolmentRequest)) -> Response:
    """Post both public keys; the answer holds a challenge that only their owner can open."""
    if not request.app.state.open_enrolment:
        raise Forbidden("this server does not enrol by itself (loopback development mode is off)")
    if body.role is Role.SYSTEM:
        raise Forbidden("nobody enrols as the cluster")
    keys = PublicKeys(sign=body.sign_key, receive=body.receive_key)
    verify_enrolment(keys, body.role, body.signature)
    id = principal_id(body.role, bytes.fromhex(body.sign_key))
    enrolment_id = derived_id("enr", id, body.role, keys.sign, keys.receive)
    challenge = secrets.token_bytes(32)
    command = Enrol(
        enrolment_id,
        body.role,
        KeyPair(FIRST_KEY, keys.sign, keys.receive),
        body.holdings,
        challenge.hex(),
        seal_challenge(challenge, keys.receive, enrolment_id).hex(),
    )
    return await admit(request, body.role, enrolment_id, command)


@router.post(
    "/enrolments/{enrolment_id}/confirmation", status_code=201, response_model=Membership,
    openapi_extra=described(Confirmation),
)  # fmt: skip
async def confirm(
    request: Request, enrolment_id: str, body: Confirmation = body_of(Confirmation)
) -> Response:
    """Return the opened challenge; the keys are in force."""
    client_hash(enrolment_id)
    command = ConfirmEnrolment(enrolment_id, body.challenge)
    try:
        return await admit(request, Role.CLIENT, enrolment_id, command)
    except NotFound:  # not a client's: owners and operators enrol at the vault
        return await admit(request, Role.OWNER, enrolment_id, command)


async def admit(
    request: Request, role: Role, id: str, command: Enrol | ConfirmEnrolment
) -> Response:
    """Enrolment proves its own keys: no principal asks, and what is shown names the command."""
    shown = command.keys if isinstance(command, Enrol) else command.challenge
    digest = hashlib.sha256(f"{type(command).__name__} {id} {shown}".encode()).hexdigest()
    nobody = Principal(id="", role=role)
    wanted = decisions.Request(f"enrolment:{digest}", digest, nobody, command)
    to = backend(request)
    return respond(await (to.apply(id, wanted) if role is Role.CLIENT else to.vault(wanted)))


@router.post(
    "/clients/{client_id}/keys", status_code=201, response_model=KeysInForce,
    openapi_extra=described(KeysRequest),
)  # fmt: skip
async def add_keys(
    request: Request, client_id: str, body: KeysRequest = body_of(KeysRequest)
) -> Response:
    """New keys, vouched for by the old ones; both are in force until one is revoked."""
    keys = PublicKeys(sign=body.sign_key, receive=body.receive_key)
    verify_enrolment(keys, Role.CLIENT, body.signature)
    pair = KeyPair(0, keys.sign, keys.receive)
    return await ask(request, client_id, AddKeys(client_id, pair))


@router.delete("/clients/{client_id}/keys/{number}", status_code=204)
async def revoke_keys(
    request: Request, client_id: str, number: Annotated[int, Path(ge=1, le=999_999)]
) -> Response:
    """Refused everywhere within five seconds."""
    return await ask(request, client_id, RevokeKeys(client_id, number))


@router.get("/clients/{client_id}/work", response_model=Work)
async def work(
    request: Request,
    client_id: str,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = 0,
    cursor: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """What to do next. Waits up to `wait` seconds for something newer than `cursor`."""
    who = signed(request).principal
    authorize(who, "read_work")
    owned(who, client_id, client_id)
    newer = await backend(request).newer(client_id, cursor, wait)
    found = await backend(request).work(client_id)
    if found is None:
        raise NotFound(f"no such id: {client_id[:80]!r}")
    items = [item for each in found.jobs for item in await items_of(request, each)]
    return show(
        Work(
            client_id=client_id,
            server_time=time.time(),
            cursor=newer,
            items=tuple(items),
            open_jobs=found.owner.open_jobs,
        )
    )


async def items_of(request: Request, work: OpenJob) -> list[WorkItem]:
    job, table = work.job, None
    if job.model is not None and not job.probes:
        key = table_key(job.model.family_digest)
        table = (await backend(request).vault_rows([key]))[key].table
    return list(work_items(work, table))


@router.post(
    "/clients/{client_id}/work/{job_id}/progress", status_code=204,
    openapi_extra=described(Progress),
)  # fmt: skip
async def progress(
    request: Request, client_id: str, job_id: str, body: Progress = body_of(Progress)
) -> Response:
    """How far a piece of work is: renews its lease; training reports its end here."""
    command = ReportProgress(client_id, job_id, body.node, body.attempt, body.share, body.done)
    return await ask(request, job_id, command)


@router.post(
    "/distillation_jobs/{job_id}/probes", status_code=204, openapi_extra=described(ProbeReport)
)
async def probes(
    request: Request, job_id: str, body: ProbeReport = body_of(ProbeReport)
) -> Response:
    """The device's latency of the probe networks."""
    return await ask(request, job_id, ReportProbes(job_id, body.attempt, body.probes))


@router.post(
    "/distillation_jobs/{job_id}/metrics", status_code=202, response_model=MetricReceipt,
    openapi_extra=described(DistillationMetric),
)  # fmt: skip
async def metrics(
    request: Request, job_id: str, body: DistillationMetric = body_of(DistillationMetric)
) -> Response:
    """What the device measured; after the verdict it is kept, and can open a new job."""
    return respond(
        await backend(request).apply(job_id, asked(request, ReportMetrics(job_id, body)))
    )
