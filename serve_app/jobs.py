"""Distillation jobs: submit, look, cancel."""

from fastapi import APIRouter, Request, Response

from serve_app.asking import ask, asked, backend, body_of, described, respond, row_of, show, signed
from serve_app.documents import graph_node, job_status
from stillhouse.commands import Cancel, Submit
from stillhouse.entities import DistillationJob, Entity, Verdict
from stillhouse.events import EVENTS
from stillhouse.ids import derived_id
from stillhouse.rows import DistillationJobRow, PrincipalRow
from stillhouse.wire.messages import GraphNode, JobRequest, JobStatus, StoryEvent

router = APIRouter(prefix="/distillation_jobs", tags=["jobs"])


class JobList(Entity):
    """A client's jobs, oldest first."""

    jobs: tuple[DistillationJob, ...]


class JobGraph(Entity):
    """The jobs of one distillation job; parents come before their children."""

    nodes: tuple[GraphNode, ...]


class Explanation(Entity):
    """Why a job is where it is, in words: each plan's reason, then the judgement's."""

    state: str
    plans: tuple[str, ...]
    judgement: str | None
    verdict: Verdict | None


class Story(Entity):
    """All that happened to a job, oldest first."""

    events: tuple[StoryEvent, ...]


@router.post(
    "", status_code=202, response_model=DistillationJob, openapi_extra=described(JobRequest)
)
async def submit(request: Request, job: JobRequest = body_of(JobRequest)) -> Response:
    """Accepted even before the central model is there: the job then waits for it."""
    id = derived_id("job", job.client_id, signed(request).nonce)
    command = Submit(id, job.client_id, job.central_model_version, job.edge_model_profile_id)
    answer = await backend(request).apply(job.client_id, asked(request, command))
    return respond(answer, Location=f"/distillation_jobs/{answer.document['id']}/status")


@router.get("", response_model=JobList)
async def list_all(request: Request, client_id: str) -> Response:
    """The jobs of one client."""
    owner = await row_of(request, client_id, PrincipalRow, "read_client", lambda row: row.id)
    rows = await backend(request).rows(client_id, owner.jobs)
    return show(JobList(jobs=tuple(row.document() for row in rows.values())))


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
    return show(
        Story(
            events=tuple(
                StoryEvent(sequence=sequence, at=at, event=type(EVENTS.decode(data)).__name__)
                for sequence, at, data in events
            )
        )
    )


@router.post("/{job_id}/cancel", response_model=DistillationJob)
async def cancel(request: Request, job_id: str) -> Response:
    """End the job without a verdict; again is no error."""
    return await ask(request, job_id, Cancel(job_id))


async def job_of(request: Request, job_id: str) -> DistillationJobRow:
    return await row_of(
        request, job_id, DistillationJobRow, "read_client", lambda row: row.client_id
    )
