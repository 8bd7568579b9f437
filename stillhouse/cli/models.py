"""`stillhouse models`: an owner registers central models, and looks at what became of them."""

from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.progress import Progress
from rich.table import Table

from stillhouse.cli.door import URL, Json, Keys, Url, asking, out, reason, tell
from stillhouse.compress.foreign import foreign
from stillhouse.entities import CentralModelSpec, Role
from stillhouse.errors import NotFound
from stillhouse.sdk import Stillhouse, Version
from stillhouse.versions import MORE_FILES

app = typer.Typer(no_args_is_help=True, help="Central models.")
As = Annotated[Role, typer.Option("--as", help="owner: its own models; others: what is available")]
FILES = {
    "weights": "weights.safetensors",
    "training": "training.parquet",
    "transfer": "transfer.parquet",
    "evaluation": "evaluation.parquet",
}
BUILD_TIMEOUT_S = 3600.0
PAGE = 200  # versions


@app.command()
def add(
    name: str,
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    url: Url = URL,
    keys: Keys = None,
    wait: Annotated[bool, typer.Option(help="until its family is built")] = True,
    json: Json = False,
) -> None:
    """Register a version from FOLDER: model.yaml or model.json (architecture, preprocessing,
    labels), weights.safetensors, transfer and evaluation as Parquet, and training if there is
    any."""
    spec, files = read(folder)
    with asking(url, keys, Role.OWNER) as owner, Progress(console=out, disable=json) as progress:
        upload = progress.add_task("upload, sealed", total=1.0)
        version = owner.register(
            name, spec, files, lambda share: progress.update(upload, completed=share)
        )
        if wait:
            version = built(owner, version, progress)
    tell(version) if json else show_version(version)


def read(folder: Path) -> tuple[CentralModelSpec, dict[str, bytes]]:
    """The spec and the files; a usage error for what is missing, wrong or refused."""
    try:
        spec = CentralModelSpec.model_validate({**document(folder), "files": {}})
        there = {
            name: file
            for name, file in FILES.items()
            if name not in MORE_FILES or (folder / file).exists()
        }
        files = {name: (folder / file).read_bytes() for name, file in there.items()}
    except (OSError, ValueError, yaml.YAMLError, TypeError) as error:
        raise typer.BadParameter(f"{folder} is no central model: {reason(error)}") from None
    refused = foreign(files["weights"])
    if refused is not None:
        raise typer.BadParameter(f"{folder / FILES['weights']} is {refused}")
    return spec, files


def document(folder: Path) -> dict[str, Any]:
    """model.json where it lies alone, model.yaml otherwise."""
    as_yaml, as_json = folder / "model.yaml", folder / "model.json"
    if as_json.exists() and not as_yaml.exists():
        found = loads(as_json.read_text())
    else:
        found = yaml.safe_load(as_yaml.read_text())
    if not isinstance(found, dict):
        raise TypeError("the model's document is no mapping")
    return found


def built(owner: Stillhouse, version: Version, progress: Progress) -> Version:
    task = progress.add_task("measure, build the family", total=1.0)

    def heard(found: Version) -> None:
        share = 1.0 if found.state == "AVAILABLE" else found.build_progress
        progress.update(task, completed=share, description=found.state.lower())

    return owner.wait_available(version, BUILD_TIMEOUT_S, heard)


@app.command("list")
def list_all(
    role: As = Role.OWNER, url: Url = URL, keys: Keys = None, limit: int = 50, json: Json = False
) -> None:
    """Central models by name (an owner's own)."""
    with asking(url, keys, role) as client:
        found = client.models(limit=limit)
    if json:
        return tell(found)
    table = Table("name", "versions", "aliases", "owner")
    for model in found.models:
        aliases = ", ".join(f"{alias} = {number}" for alias, number in model.aliases.items())
        table.add_row(model.name, str(model.versions), aliases or "-", model.owner_id)
    out.print(table)
    return None


@app.command()
def show(
    model: Annotated[str, typer.Argument(metavar="NAME[@VERSION]")],
    role: As = Role.OWNER,
    url: Url = URL,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """A version (the latest, if none is named): its state, accuracy and size."""
    name, _, number = model.partition("@")
    if number and not number.isdecimal():
        raise typer.BadParameter("after @ comes the number of a version")
    with asking(url, keys, role) as client:
        version = client.version(name, int(number)) if number else latest(client, name)
    tell(version) if json else show_version(version)


def latest(client: Stillhouse, name: str) -> Version:
    """The last version that one may see; NotFound if there is none."""
    found: Version | None = None
    cursor: str | None = None
    while True:
        page = client.versions(name, limit=PAGE, cursor=cursor)
        found = page.versions[-1] if page.versions else found
        if (cursor := page.next_cursor) is None:
            break
    if found is None:
        raise NotFound(f"{name} has no version that you may see")
    return client.version(name, found.version)


def show_version(version: Version) -> None:
    out.print(f"{version.name}@{version.version}: {version.state}, {version.why}", highlight=False)
    if version.measured is not None:
        measured = version.measured
        out.print(
            f"  accuracy {measured.accuracy:.3f} (SE {measured.accuracy_se:.3f}), "
            f"{measured.parameters} parameters, {measured.size_bytes / 1000:.0f} kB",
            highlight=False,
        )
