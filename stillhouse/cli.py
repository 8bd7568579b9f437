"""The command `stillhouse`. Server verbs (serve, demo) come in through the entry-point group
`stillhouse.commands`, so a device that installs the library alone has none of them.

Exit codes: 0 ok, 1 failed, 2 usage, 3 target missed, 4 refused, 5 unreachable.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stillhouse.entities import Role
from stillhouse.errors import Refusal, StillhouseError, Unavailable
from stillhouse.sdk import Stillhouse
from stillhouse.wire.identity import Identity
from stillhouse.wire.messages import JobStatus

FAILED, REFUSED, UNREACHABLE = 1, 4, 5
TRIES = 5  # a person waits: about four seconds
URL = "http://127.0.0.1:8700"
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()


@app.callback()
def stillhouse() -> None:
    """Fits one large model to every device of a fleet."""


@app.command()
def status(
    job_id: str,
    url: Annotated[str, typer.Option(help="where the API listens")] = URL,
    keys: Annotated[Path, typer.Option(help="key file; made if missing")] = Path("operator.key"),
    json: Annotated[bool, typer.Option("--json", help="the whole document")] = False,
) -> None:
    """Where a distillation job stands, and why (asked as an operator)."""
    try:
        with Stillhouse([url], identity(keys), Role.OPERATOR, TRIES) as operator:
            operator.enrol()
            found = operator.status(job_id)
    except StillhouseError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}")
        raise typer.Exit(exit_code(error)) from None
    if json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        show(found)


def show(status: JobStatus) -> None:
    """State, then each node of the graph with its reason, then the verdict."""
    console.print(f"{status.job.id}: {status.job.state}, round {status.round}")
    for node in status.graph:
        console.print(f"  {node.id:<16} {node.state:<15} {node.cause}", highlight=False)
    if status.verdict is not None:
        console.print(f"{status.verdict.kind}: {status.verdict.why}", highlight=False)


def identity(path: Path) -> Identity:
    """The key pair in `path`; a new one if there is no file yet."""
    if not path.exists():
        Identity.generate().save(path)
    return Identity.load(path)


def exit_code(error: StillhouseError) -> int:
    if isinstance(error, Refusal):
        return REFUSED
    return UNREACHABLE if isinstance(error, Unavailable) else FAILED


for verb in entry_points(group="stillhouse.commands"):
    app.command(verb.name)(verb.load())
