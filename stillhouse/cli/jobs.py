"""`stillhouse jobs`: submit distillation jobs, watch them, ask why."""

from typing import Annotated

import typer
from rich.table import Table
from rich.tree import Tree

from stillhouse.cli.door import MISSED, URL, Json, Keys, Url, asking, out, tell
from stillhouse.entities import (
    DEADLINE_S,
    LONGEST_DEADLINE_S,
    DistillationJob,
    JobState,
    Priority,
    Role,
    VerdictKind,
)
from stillhouse.estimates import Interval, Preview
from stillhouse.wire.messages import GraphNode, JobList, JobStatus

app = typer.Typer(no_args_is_help=True, help="Distillation jobs.")
Deadline = Annotated[float, typer.Option(min=1, max=LONGEST_DEADLINE_S, help="seconds from now")]
As = Annotated[Role, typer.Option("--as", help="client: its own jobs; operator: everybody's")]


@app.command()
def submit(
    central_model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    profile_id: str,
    priority: Priority = Priority.NORMAL,
    deadline_s: Deadline = DEADLINE_S,
    url: Url = URL,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Submit a job; it waits if the central model is not there yet."""
    with asking(url, keys, Role.CLIENT) as client:
        job = client.submit(
            client.enrol(), central_model, profile_id, priority=priority, deadline_s=deadline_s
        )
    tell(job) if json else out.print(line(job), highlight=False)


@app.command()
def plan(
    central_model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    profile_id: str,
    url: Url = URL,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """What a job would begin with: nothing is created; exit code 3 if it is infeasible."""
    with asking(url, keys, Role.CLIENT) as client:
        found = client.plan_job(client.enrol(), central_model, profile_id)
    tell(found) if json else show_preview(found)
    if found.verdict is not None:
        raise typer.Exit(MISSED)


@app.command("list")
def list_all(
    role: As = Role.CLIENT,
    state: JobState | None = None,
    verdict: VerdictKind | None = None,
    central_model: str | None = None,
    client_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    url: Url = URL,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Jobs, newest first."""
    with asking(url, keys, role) as client:
        found = client.jobs(
            client_id=client_id,
            state=state,
            verdict=verdict,
            central_model=central_model,
            limit=limit,
            cursor=cursor,
        )
    tell(found) if json else show_list(found)


@app.command()
def status(
    job_id: str, role: As = Role.CLIENT, url: Url = URL, keys: Keys = None, json: Json = False
) -> None:
    """Where a job stands, and why."""
    with asking(url, keys, role) as client:
        found = client.status(job_id)
    tell(found) if json else show(found)


@app.command()
def watch(
    job_id: str, role: As = Role.CLIENT, url: Url = URL, keys: Keys = None, json: Json = False
) -> None:
    """What happens to a job, until it is over; exit code 3 if its profile is not met."""
    with asking(url, keys, role) as client:
        for event in client.events(job_id):
            if json:
                typer.echo(event.model_dump_json())
            else:
                out.print(f"{event.sequence:>6}  {event.text}", highlight=False, soft_wrap=True)
        job = client.status(job_id).job
    if job.verdict is None or job.verdict.kind is not VerdictKind.MET:
        raise typer.Exit(MISSED)


@app.command()
def explain(
    job_id: str, role: As = Role.CLIENT, url: Url = URL, keys: Keys = None, json: Json = False
) -> None:
    """Why each round was planned as it was, and what the judgement rests on."""
    with asking(url, keys, role) as client:
        found = client.explanation(job_id)
    if json:
        return tell(found)
    out.print(f"{job_id}: {found.state}", highlight=False)
    for number, why in enumerate(found.plans, 1):
        out.print(f"round {number}: {why}", highlight=False, soft_wrap=True)
    out.print(found.judgement or "no judgement yet", highlight=False, soft_wrap=True)
    return None


@app.command()
def cancel(
    job_id: str, role: As = Role.CLIENT, url: Url = URL, keys: Keys = None, json: Json = False
) -> None:
    """End a job without a verdict; its running tasks stop."""
    with asking(url, keys, role) as client:
        job = client.cancel(job_id)
    tell(job) if json else out.print(line(job), highlight=False)


@app.command()
def graph(
    job_id: str, role: As = Role.CLIENT, url: Url = URL, keys: Keys = None, json: Json = False
) -> None:
    """The jobs that a job consists of, each below what it waits for last."""
    with asking(url, keys, role) as client:
        found = client.graph(job_id)
    if json:
        return tell(found)
    tree, places = Tree(job_id), dict[str, Tree]()
    for node in found.nodes:
        above = places[node.parents[-1]] if node.parents else tree
        places[node.id] = above.add(words(node))
    out.print(tree)
    return None


def words(node: GraphNode) -> str:
    more = f" (after {', '.join(node.parents)})" if len(node.parents) > 1 else ""
    return f"{node.id} {node.state}{more}"


def line(job: DistillationJob) -> str:
    verdict = f", {job.verdict.kind}" if job.verdict else ""
    return f"{job.id}: {job.state}{verdict}, round {job.rounds}, {job.central_model_version}"


def show_list(found: JobList) -> None:
    table = Table("job", "state", "verdict", "rounds", "central model", "profile")
    for job in found.jobs:
        verdict = job.verdict.kind if job.verdict else "-"
        model = job.resolved_version or job.central_model_version
        table.add_row(job.id, job.state, verdict, str(job.rounds), model, job.edge_model_profile_id)
    out.print(table)
    if found.next_cursor:
        out.print(f"more: --cursor {found.next_cursor}", highlight=False)


def show_preview(found: Preview) -> None:
    """The plan with its intervals, the trade-offs around it, and what came closest to it."""
    why = found.verdict or found.plan
    out.print(f"{found.central_model_version}, latencies by {found.basis}", highlight=False)
    if why is not None:
        out.print(why.why, highlight=False, soft_wrap=True)
    table = Table("student", "accuracy", "p95 ms", "bytes", "chance", title="10 to 90 %")
    for each in ([found.estimate] if found.estimate else []) + list(found.pareto):
        mark = "*" if found.estimate and each.student == found.estimate.student else ""
        table.add_row(
            f"{each.student}{mark}",
            span(each.accuracy, ".3f"),
            span(each.latency_p95_ms, ".3g"),
            span(each.bytes, ",.0f"),
            f"{each.chance:.0%}",
            end_section=each is found.estimate,
        )
    out.print(table)
    counts = ", ".join(f"{count} {reason}" for reason, count in found.rejected.items())
    out.print(f"not planned: {counts}", highlight=False)
    for other in found.nearest:
        out.print(f"  {other.student}: {other.why}", highlight=False, soft_wrap=True)


def span(value: Interval, form: str) -> str:
    return f"{value.expected:{form}} ({value.low:{form}}-{value.high:{form}})"


def show(status: JobStatus) -> None:
    """State, then each node of the graph with its reason, then bytes and the verdict."""
    out.print(line(status.job), highlight=False)
    for node in status.graph:
        out.print(f"  {node.id:<16} {node.state:<15} {node.cause}", highlight=False)
    sent = status.transfers
    out.print(f"  {sent.bytes_acknowledged} of {sent.bytes} bytes", highlight=False)
    if status.verdict is not None:
        text = f"{status.verdict.kind}: {status.verdict.why}"
        out.print(text, highlight=False, soft_wrap=True)
