"""`stillhouse state`: back up, restore, migrate and check what a server keeps on this machine.

Exit codes are those of every command: 1 damaged or missing, 2 usage, 4 refused, 5 busy.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from actors.settings import ActorSettings
from actors.start import journals
from cluster.journal import backup as copies
from cluster.journal.contract import JournalIdentity
from cluster.journal.inspection import Inspection, inspect
from cluster.journal.migration import migrate as migrate_journal
from configs.settings import Settings
from stillhouse import shard, vault
from stillhouse.cli.door import FAILED, Json, failing, out, reason, tell
from stillhouse.entities import Entity
from stillhouse.errors import JournalMissing, JournalUnavailable

LOCAL = Path(__file__).with_name("local.yaml")
PATIENCE_S = 2.0  # what takes longer shows how far it is
AGAIN = (
    "Families that the earlier release built cannot be read by this one, whose containers are "
    "others: register each central model again, as a new version, and set its aliases. Jobs that "
    "began with an earlier version fail once they need its family; their histories stay."
)

state = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False
)
SettingsFile = Annotated[
    Path,
    typer.Option(
        "--settings", exists=True, dir_okay=False, help="a YAML file like configs/local.yaml"
    ),
]


class Copied(Entity):
    """What was backed up or restored."""

    folder: str
    state: str
    made_at: float
    files: int
    size_bytes: int


class Migrated(Entity):
    """The journals that were migrated, the others being of the present schema already; and what a
    migration cannot do."""

    journals: tuple[str, ...]
    left_to_do: str = ""


class Finding(Entity):
    """A journal as it should be and as it was found; `wrong` is empty where all is well."""

    name: str
    wrong: str
    found: Inspection | None


class Checked(Entity):
    """All journals of a state folder."""

    state: str
    findings: tuple[Finding, ...]


@state.command()
def backup(folder: Path, settings: SettingsFile = LOCAL, json: Json = False) -> None:
    """Copy the state to FOLDER, which must be new; the server may run.

    The copy holds the cluster's private keys: keep it where nobody else reads.
    """
    actors = load(settings)
    with failing(), progress("backing up") as told:
        manifest = copies.back_up(actors.state, folder, time.time(), told)
    say(copied(manifest, folder, actors.state), json)
    if actors.families is not None and not json:
        out.print(f"Families are kept in {actors.families}, which is not part of the copy.")


@state.command()
def restore(folder: Path, settings: SettingsFile = LOCAL, json: Json = False) -> None:
    """Make the state from a copy; nothing is overwritten.

    First stop whatever still writes to the folder that was copied: it cannot be fenced.
    """
    actors = load(settings)
    with failing(), progress("restoring") as told:
        manifest = copies.restore(folder, actors.state, told)
    say(copied(manifest, folder, actors.state), json)


@state.command()
def migrate(settings: SettingsFile = LOCAL, json: Json = False) -> None:
    """Bring journals of an older schema to the present one; the server must be stopped.

    Each old journal, of schema N, stays beside the new one, as NAME.schema-N.bak. Families that an
    earlier release built are not read any more: register their central models again.
    """
    actors, done = load(settings), []
    with failing(), progress("migrating") as told:
        for path, identity in journals(actors).items():
            if inspect(path, deep=False).schema_version != identity.schema:
                rules = vault if identity.publisher == "vault" else shard
                migrate_journal(path, identity, rules, rules.EVENTS, archive(actors), told)
                done.append(path.name)
    migrated = Migrated(journals=tuple(done), left_to_do=AGAIN if "vault.sqlite" in done else "")
    if json:
        tell(migrated)
    else:
        out.print(f"migrated: {', '.join(done) or 'nothing to do'}\n{migrated.left_to_do}".strip())


@state.command()
def check(settings: SettingsFile = LOCAL, json: Json = False) -> None:
    """Read every page of every journal; the server may run."""
    actors = load(settings)
    findings = tuple(findings_of(actors))
    checked = Checked(state=str(actors.state), findings=findings)
    tell(checked) if json else show(checked)
    if any(finding.wrong for finding in findings):
        raise typer.Exit(FAILED)


def load(settings: Path) -> ActorSettings:
    try:
        return Settings.load(settings).api.actors
    except (ValueError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{settings}: {reason(error)}") from None


def archive(actors: ActorSettings) -> Path:
    return actors.state / "archive"


def findings_of(actors: ActorSettings) -> Iterator[Finding]:
    with progress("checking") as told:
        for number, (path, identity) in enumerate(journals(actors).items(), 1):
            yield looked_at(path, identity)
            told(number / (actors.shards + 1))


def looked_at(path: Path, wanted: JournalIdentity) -> Finding:
    try:
        found = inspect(path)
    except (JournalMissing, JournalUnavailable) as error:
        return Finding(name=path.name, wrong=str(error), found=None)
    wrong = "; ".join(found.damage)
    if found.schema_version < wanted.schema:
        wrong = wrong or f"of schema {found.schema_version}: run `stillhouse state migrate`"
    elif found.identity != wanted:
        wrong = wrong or f"of {found.identity}, not of {wanted}"
    return Finding(name=path.name, wrong=wrong, found=found)


def copied(manifest: copies.Manifest, folder: Path, state: Path) -> Copied:
    return Copied(
        folder=str(folder),
        state=str(state),
        made_at=manifest.made_at,
        files=len(manifest.files),
        size_bytes=sum(file.size_bytes for file in manifest.files),
    )


def say(done: Copied, json: bool) -> None:
    if json:
        tell(done)
    else:
        size = f"{done.size_bytes / 1e6:.1f} MB"
        out.print(f"{done.files} files, {size}; copy {done.folder}, state {done.state}")


def show(checked: Checked) -> None:
    table = Table("journal", "schema", "epoch", "events", "rows", "jobs", "found")
    for each in checked.findings:
        health = f"[red]{each.wrong}[/red]" if each.wrong else "[green]sound[/green]"
        table.add_row(each.name, *cells(each.found), health)
    out.print(table)


def cells(found: Inspection | None) -> tuple[str, ...]:
    if found is None:
        return ("",) * 5
    jobs = ", ".join(f"{state} {count}" for state, count in sorted(found.states.items()))
    numbers = (found.schema_version, found.epoch, found.events, found.rows)
    return (*map(str, numbers), jobs)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, once it takes longer than one waits for without asking."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task, began = bar.add_task(what, total=1.0), time.monotonic()

    def told(share: float) -> None:
        if time.monotonic() - began > PATIENCE_S:
            bar.start()
        bar.update(task, completed=share)

    try:
        yield told
    finally:
        bar.stop()


if __name__ == "__main__":
    state()
