"""`stillhouse profiles`: what a client's device can afford."""

from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.table import Table

from stillhouse.cli.door import URL, Json, Keys, Url, asking, out, reason, tell
from stillhouse.entities import EdgeModelProfile, ProfileSpec, Role

app = typer.Typer(no_args_is_help=True, help="What a client's device can afford.")

File = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="YAML or JSON")]
Cores = Annotated[int, typer.Option(help="threads for inference")]
Memory = Annotated[int | None, typer.Option(help="peak at batch 1")]
Storage = Annotated[int | None, typer.Option()]
Latency = Annotated[float | None, typer.Option(help="95th percentile at batch 1")]
Strict = Annotated[bool, typer.Option("--strict", help="accept only what is all but certain")]
Drop = Annotated[float | None, typer.Option(help="a fraction: 0.03 is three points")]


def spec_from(
    file: Path | None,
    cpu_cores: int,
    memory_bytes: int | None,
    storage_bytes: int | None,
    latency_p95_ms: float | None,
    max_accuracy_drop: float | None,
    *,
    strict: bool = False,
) -> ProfileSpec:
    """From a file, or from options; a usage error that names what is missing or wrong."""
    given = {
        "cpu_cores": cpu_cores,
        "memory_bytes": memory_bytes,
        "storage_bytes": storage_bytes,
        "latency_p95_ms": latency_p95_ms,
        "max_accuracy_drop": max_accuracy_drop,
        "strict": strict,
    }
    try:
        if file is not None:
            return ProfileSpec.model_validate(yaml.safe_load(file.read_text()))
        return ProfileSpec.model_validate({k: v for k, v in given.items() if v is not None})
    except (ValidationError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"no profile: {reason(error)}") from None


@app.command("set")
def set_profile(
    profile_id: Annotated[str | None, typer.Argument(help="replaced; without it a new one")] = None,
    file: File = None,
    cpu_cores: Cores = 1,
    memory_bytes: Memory = None,
    storage_bytes: Storage = None,
    latency_p95_ms: Latency = None,
    max_accuracy_drop: Drop = None,
    strict: Strict = False,
    url: Url = URL,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Declare a profile, or replace one by a new revision."""
    limits = memory_bytes, storage_bytes, latency_p95_ms, max_accuracy_drop
    spec = spec_from(file, cpu_cores, *limits, strict=strict)
    with asking(url, keys, Role.CLIENT) as client:
        id = client.enrol()
        if profile_id is None:
            made = client.create_profile(id, spec)
        else:
            revision = client.profile(id, profile_id).revision
            made = client.replace_profile(id, profile_id, spec, revision)
    tell(made) if json else show(made)


@app.command("get")
def get_profile(profile_id: str, url: Url = URL, keys: Keys = None, json: Json = False) -> None:
    """One profile."""
    with asking(url, keys, Role.CLIENT) as client:
        found = client.profile(client.enrol(), profile_id)
    tell(found) if json else show(found)


@app.command("list")
def list_all(url: Url = URL, keys: Keys = None, limit: int = 50, json: Json = False) -> None:
    """This client's profiles."""
    with asking(url, keys, Role.CLIENT) as client:
        found = client.profiles(client.enrol(), limit=limit)
    if json:
        return tell(found)
    table = Table("profile", "revision", *ProfileSpec.model_fields)
    for profile in found.profiles:
        limits = (getattr(profile.spec, name) for name in ProfileSpec.model_fields)
        cells = ("-" if value is None else f"{value:g}" for value in limits)
        table.add_row(profile.id, str(profile.revision), *cells)
    out.print(table)
    return None


@app.command("rm")
def remove(profile_id: str, url: Url = URL, keys: Keys = None, json: Json = False) -> None:
    """Delete a profile; refused while a job uses it."""
    with asking(url, keys, Role.CLIENT) as client:
        id = client.enrol()
        found = client.profile(id, profile_id)
        client.delete_profile(id, profile_id, found.revision)
    tell(found) if json else out.print(f"deleted {profile_id}", highlight=False)


def show(profile: EdgeModelProfile) -> None:
    limits = (f"{name} {value}" for name, value in profile.spec if value is not None)
    out.print(f"{profile.id}, revision {profile.revision}: {', '.join(limits)}", highlight=False)
