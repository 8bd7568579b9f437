"""Distillation jobs: plan, submit, look, cancel."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from serve_app.asking import ask, asked, backend, body_of, described, respond, row_of, show, signed
from serve_app.backend import place_of
from serve_app.documents import graph_node, job_status
from serve_app.lists import PAGE, Cursor, Limit, Word
from serve_app.stories import live_story, told
from stillhouse.authorization import authorize
from stillhouse.brief import dry_run_input, held_chunks
from stillhouse.catalogue import resolve
from stillhouse.commands import Cancel, Submit
from stillhouse.entities import (
    DistillationJob,
    Entity,
    JobState,
    KnowledgeChunk,
    Role,
    VerdictKind,
)
from stillhouse.errors import ModelAbsent, NotFound
from stillhouse.estimates import Preview
from stillhouse.fleet import FleetPrior
from stillhouse.ids import derived_id
from stillhouse.listing import Filters, position_of
from stillhouse.preview import preview
from stillhouse.rows import (
    DeliveryRow,
    DistillationJobRow,
    PrincipalRow,
    PriorRow,
    ProfileRow,
    catalogue_key,
    prior_key,
)
from stillhouse.versions import table_key
from stillhouse.wire.messages import (
    Explanation,
    JobGraph,
    JobList,
    JobRequest,
    JobStatus,
    StoryEvent,
)

router = APIRouter(prefix="/distillation_jobs", tags=["jobs"])
EVENT_STREAM = "text/event-stream"
SERVER_SENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "A stream of StoryEvents", "content": {EVENT_STREAM: {}}}
}
DRY_RUN: dict[int | str, dict[str, Any]] = {
    200: {"model": Preview, "description": "With dry_run: the plan, its alternatives, or a verdict"}
}
FAR = 1 << 60  # no journal has as many events


class Story(Entity):
    """All that happened to a job, oldest first."""

    events: tuple[StoryEvent, ...]


@router.post(
    "",
    status_code=202,
    response_model=DistillationJob,
    responses=DRY_RUN,
    openapi_extra=described(JobRequest),
)
async def submit(
    request: Request, job: JobRequest = body_of(JobRequest), *, dry_run: bool = False
) -> Response:
    """Accepted even before the central model is there: the job then waits for it.

    With `dry_run` nothing is created: the answer says what the job would begin with.
    """
    if dry_run:
        return show(await previewed(request, job))
    id = derived_id("job", job.client_id, signed(request).nonce)
    command = Submit(
        id,
        job.client_id,
        job.central_model_version,
        job.edge_model_profile_id,
        job.priority,
        job.deadline_s,
        backend(request).open_jobs,
    )
    answer = await backend(request).apply(job.client_id, asked(request, command))
    return respond(answer, Location=f"/distillation_jobs/{answer.document['id']}/status")


@router.get("", response_model=JobList)
async def list_all(
    request: Request,
    client_id: str | None = None,
    state: JobState | None = None,
    verdict: VerdictKind | None = None,
    central_model: Word | None = None,
    edge_model_profile_id: Word | None = None,
    limit: Limit = PAGE,
    cursor: Cursor | None = None,
) -> Response:
    """Jobs, newest first: a client's own, or everybody's for an operator."""
    who = signed(request).principal
    authorize(who, "read_client")
    if client_id is None and who.role is Role.CLIENT:
        client_id = who.id
    if client_id is not None:
        await row_of(request, client_id, PrincipalRow, "read_client", lambda row: row.id)
    filters = Filters(client_id, edge_model_profile_id, central_model, state, verdict)
    rows = await backend(request).jobs(filters, position_of(cursor), limit + 1)
    page = rows[:limit]
    more = place_of(page[-1]).cursor() if len(rows) > limit else None
    return show(JobList(jobs=tuple(row.document() for row in page), next_cursor=more))


@router.get("/{job_id}/status", response_model=JobStatus)
async def status(request: Request, job_id: str) -> Response:
    """State, graph with causes, plan and why, progress, metrics, verdict."""
    job = await job_of(request, job_id)
    deliveries = await backend(request).rows(job_id, job.deliveries)
    return show(job_status(job, tuple(deliveries.values())))


@router.get("/{job_id}/graph", response_model=JobGraph)
async def graph(request: Request, job_id: str) -> Response:
    """The job graph alone."""
    job = await job_of(request, job_id)
    return show(JobGraph(nodes=tuple(graph_node(node) for node in job.graph.values())))


@router.get("/{job_id}/explanation", response_model=Explanation)
async def explanation(request: Request, job_id: str) -> Response:
    """The reasons alone."""
    job = await job_of(request, job_id)
    judgement = job.judgement or job.verdict
    return show(
        Explanation(
            state=job.state,
            plans=tuple(plan.why for plan in job.plans),
            judgement=judgement.why if judgement else None,
            verdict=job.verdict,
        )
    )


@router.get("/{job_id}/story", response_model=Story)
async def story(request: Request, job_id: str) -> Response:
    """Every event that led to the job's state."""
    await job_of(request, job_id)
    events = await backend(request).story(job_id)
    return show(Story(events=tuple(told(*event) for event in events)))


@router.get("/{job_id}/events", responses=SERVER_SENT, response_class=StreamingResponse)
async def events(
    request: Request,
    job_id: str,
    after: Annotated[int, Query(ge=0, le=FAR)] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=FAR)] = None,
) -> Response:
    """The story as server-sent events, those to come included, until the job is over.

    A reader that lost its connection goes on behind Last-Event-ID.
    """
    job = await job_of(request, job_id)
    parts = live_story(backend(request), job, last_event_id or after)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(parts, media_type=EVENT_STREAM, headers=headers)


@router.post("/{job_id}/cancel", response_model=DistillationJob)
async def cancel(request: Request, job_id: str) -> Response:
    """End the job without a verdict; again is no error."""
    return await ask(request, job_id, Cancel(job_id))


async def previewed(request: Request, job: JobRequest) -> Preview:
    """The first plan of a job that nobody submitted; ModelAbsent where that would wait."""
    owner = await row_of(request, job.client_id, PrincipalRow, "Submit", lambda row: row.id)
    row = await row_of(
        request,
        job.edge_model_profile_id,
        ProfileRow,
        "Submit",
        lambda found: found.profile.client_id,
    )
    if row.profile.client_id != owner.id:
        raise NotFound(f"no such id: {job.edge_model_profile_id!r}")
    name = catalogue_key(job.central_model_version.partition("@")[0])
    catalogue = await backend(request).rows(owner.id, [name])
    model = resolve(catalogue, job.central_model_version)
    if model is None:
        raise ModelAbsent(f"{job.central_model_version} is not there yet")
    family = model.family_digest
    held, prior = await holdings(request, owner, family)
    table = (await backend(request).vault_rows([table_key(family)]))[table_key(family)].table
    given = dry_run_input(row.profile, model, owner, held, table, prior)
    return await asyncio.to_thread(preview, given, f"{model.name}@{model.version}")


async def holdings(
    request: Request, owner: PrincipalRow, family: str
) -> tuple[tuple[KnowledgeChunk, ...], FleetPrior | None]:
    """The chunks of a family that the client's device holds, and what its fleet knows of it."""
    ids = owner.deliveries.get(family, ())
    found = await backend(request).rows(owner.id, [prior_key(family), *ids])
    known: PriorRow | None = found.pop(prior_key(family))
    deliveries: list[DeliveryRow] = [found[id] for id in ids]
    jobs = await backend(request).rows(owner.id, [each.job_id for each in deliveries])
    return held_chunks(deliveries, jobs), known.prior if known else None


async def job_of(request: Request, job_id: str) -> DistillationJobRow:
    return await row_of(
        request, job_id, DistillationJobRow, "read_client", lambda row: row.client_id
    )
