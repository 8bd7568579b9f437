"""`stillhouse dead-letters`: what failed for good, for an operator to look at and replay."""

import typer
from rich.table import Table

from stillhouse.cli.door import URL, Json, Keys, Url, asking, out, tell
from stillhouse.entities import Role
from stillhouse.wire.messages import DeadLetterList

app = typer.Typer(no_args_is_help=True, help="Effects that failed for good (operators).")


@app.command("list")
def list_all(
    limit: int = 50,
    cursor: str | None = None,
    url: Url = URL,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Those that wait for a replay, newest first."""
    with asking(url, keys, Role.OPERATOR) as operator:
        operator.enrol()
        found = operator.dead_letters(limit=limit, cursor=cursor)
    tell(found) if json else show(found)


@app.command()
def replay(letter_id: str, url: Url = URL, keys: Keys = None, json: Json = False) -> None:
    """The job goes on where it failed."""
    with asking(url, keys, Role.OPERATOR) as operator:
        operator.enrol()
        job = operator.replay(letter_id)
    tell(job) if json else out.print(f"{job.id} is {job.state} again", highlight=False)


def show(found: DeadLetterList) -> None:
    table = Table("dead letter", "job", "node", "attempts", "error")
    for letter in found.dead_letters:
        table.add_row(letter.id, letter.job_id, letter.node, str(letter.attempts), letter.error)
    out.print(table)
    if found.next_cursor:
        out.print(f"more: --cursor {found.next_cursor}", highlight=False)
