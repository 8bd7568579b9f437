"""Deliveries: the manifest, acks, the installation report; chunks are at the chunk servers."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from serve_app.asking import ask, backend, body_of, described, row_of, signed
from stillhouse.authorization import authorize
from stillhouse.commands import Acknowledge, ReportInstallation
from stillhouse.ids import client_hash
from stillhouse.rows import DeliveryRow
from stillhouse.wire.messages import Ack, InstallationReport

router = APIRouter(prefix="/deliveries/{delivery_id}", tags=["deliveries"])


@router.get("/manifest", response_class=Response)
async def manifest(request: Request, delivery_id: str) -> Response:
    """The signed, sealed manifest: the same bytes every time."""
    row = await row_of(
        request, delivery_id, DeliveryRow, "read_delivery", lambda row: row.client_id
    )
    return Response(row.envelope, media_type="application/vnd.dsse.envelope.v1+json")


@router.get("/chunks/{index}", status_code=307, response_class=Response)
async def chunk(
    request: Request, delivery_id: str, index: Annotated[int, Path(ge=0, le=999)]
) -> Response:
    """Where the chunk is streamed from; sign the request to that address anew."""
    authorize(signed(request).principal, "read_delivery")
    client_hash(delivery_id)
    query = f"?{request.url.query}" if request.url.query else ""
    there = f"{backend(request).chunk_url}/deliveries/{delivery_id}/chunks/{index}{query}"
    return Response(status_code=307, headers={"location": there})


@router.post("/acks", status_code=204, openapi_extra=described(Ack))
async def acknowledge(request: Request, delivery_id: str, body: Ack = body_of(Ack)) -> Response:
    """Proof that a chunk was opened: it alone opens the next transfer."""
    return await ask(request, delivery_id, Acknowledge(delivery_id, body.index, body.ack))


@router.post("/installation_report", status_code=204, openapi_extra=described(InstallationReport))
async def installed(
    request: Request, delivery_id: str, body: InstallationReport = body_of(InstallationReport)
) -> Response:
    """Proof that the student was loaded, before any training."""
    command = ReportInstallation(
        delivery_id, body.manifest_digest, body.version, body.probe_answers
    )
    return await ask(request, delivery_id, command)
