"""What every command shares: where the API is, who asks, how results and errors come out.

Results go to standard output, as words or with `--json` as one document; errors to standard error.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from stillhouse.entities import Role
from stillhouse.errors import Refusal, StillhouseError, Unavailable
from stillhouse.sdk import Stillhouse
from stillhouse.wire.identity import Identity
from stillhouse.wire.problems import in_words, problem_of

FAILED, USAGE, MISSED, REFUSED, UNREACHABLE = 1, 2, 3, 4, 5
TRIES = 5  # a person waits: about four seconds
URL = "http://127.0.0.1:8700"
COLUMNS = 190  # where there is no terminal to ask

Url = Annotated[str, typer.Option(envvar="STILLHOUSE_URL", help="where the API listens")]
Keys = Annotated[
    Path | None,
    typer.Option(envvar="STILLHOUSE_KEYS", help="key file; made if missing, 0600"),
]
Json = Annotated[bool, typer.Option("--json", help="one JSON document for programs")]

out = Console() if sys.stdout.isatty() else Console(width=COLUMNS)
err = Console(stderr=True)


def key_file(role: Role) -> Path:
    """Where a role's key lies unless one says otherwise."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return home / "stillhouse" / f"{role}.key"


def identity(path: Path) -> Identity:
    """The key pair in `path`; a new one if there is no file yet."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Identity.generate().save(path)
    return Identity.load(path)


@contextmanager
def asking(url: str, keys: Path | None, role: Role) -> Iterator[Stillhouse]:
    """An enrolled client; what it raises becomes words and an exit code."""
    with failing(), Stillhouse([url], identity(keys or key_file(role)), role, TRIES) as client:
        client.enrol()
        yield client


@contextmanager
def failing() -> Iterator[None]:
    """Errors of ours become words on standard error, and an exit code."""
    try:
        yield
    except StillhouseError as error:
        problem = problem_of(error)
        err.print(f"[red]{problem.title}[/red] ({problem.code}): {error}", highlight=False)
        err.print(problem.action, style="dim", highlight=False)
        raise typer.Exit(exit_code(error)) from None


def reason(error: Exception) -> str:
    """What is wrong with a document, field by field."""
    return in_words(error) if isinstance(error, ValidationError) else str(error)


def exit_code(error: StillhouseError) -> int:
    if isinstance(error, Refusal):
        return REFUSED
    return UNREACHABLE if isinstance(error, Unavailable) else FAILED


def tell(document: BaseModel) -> None:
    """The document as JSON."""
    typer.echo(document.model_dump_json(indent=2))
