"""`stillhouse edge`: this machine as a device, with private data that stay on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.door import MISSED, TRIES, URL, Json, Url, failing, identity, out, tell
from stillhouse.cli.profiles import Cores, Drop, File, Latency, Memory, Storage, spec_from
from stillhouse.entities import Role, VerdictKind
from stillhouse.errors import Invalid, VerificationFailed
from stillhouse.sdk import Stillhouse
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity

if TYPE_CHECKING:
    from stillhouse.compress.windows import PublicWindows
    from stillhouse.edge.workbench import PrivateData

app = typer.Typer(no_args_is_help=True, help="A device on this machine.")


@app.callback()
def edge() -> None:
    """A device on this machine."""


@app.command()
def run(
    central_model: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]")],
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="train.parquet, validation.parquet")
    ],
    folder: Annotated[Path, typer.Option(help="what the device remembers")] = Path("device"),
    windows: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="the public windows")
    ] = None,
    file: File = None,
    cpu_cores: Cores = 1,
    memory_bytes: Memory = None,
    storage_bytes: Storage = None,
    latency_p95_ms: Latency = None,
    max_accuracy_drop: Drop = None,
    url: Url = URL,
    json: Json = False,
) -> None:
    """Declare a profile, submit a job, and work on it until its verdict; latency and memory are
    measured here. Exit code 3 if the profile is not met."""
    from stillhouse.edge.agent import Agent
    from stillhouse.edge.workbench import Workbench

    spec = spec_from(
        file, cpu_cores, memory_bytes, storage_bytes, latency_p95_ms, max_accuracy_drop
    )
    private, public = recordings(data), public_windows(windows)

    def heard(doing: str) -> None:
        if not json:
            out.print(doing, highlight=False)

    me = identity(folder / "device.key")
    with failing():
        answers(url, me)
        agent = Agent(SignedClient([url], me), me, folder, Workbench(private, public), heard)
        agent.join((public.digest(),) if public else ())
        job = agent.submit(central_model, agent.declare(spec).id)
        heard(f"{job.id} on {central_model}")
        agent.run()
        agent.close()
        with Stillhouse([url], me, Role.CLIENT) as client:
            client.enrol()
            status = client.status(job.id)
    verdict = status.verdict
    if json:
        tell(status)
    else:
        out.print(f"{verdict.kind}: {verdict.why}" if verdict else status.why, highlight=False)
    if verdict is None or verdict.kind is not VerdictKind.MET:
        raise typer.Exit(MISSED)


def recordings(folder: Path) -> "PrivateData":
    """What the device trains and measures itself on; a usage error for what is missing or wrong."""
    from stillhouse.compress.recordings import Recordings
    from stillhouse.edge.workbench import PrivateData

    def part(name: str) -> Recordings:
        file = folder / f"{name}.parquet"
        try:
            return Recordings.from_parquet(file.read_bytes())
        except (OSError, Invalid) as error:
            raise typer.BadParameter(f"{file}: {error}") from None

    return PrivateData(part("train"), part("validation"))


def public_windows(file: Path | None) -> "PublicWindows | None":
    """What the device has from its factory; a usage error for a file that is something else."""
    from stillhouse.compress.windows import PublicWindows

    try:
        return PublicWindows.from_bytes(file.read_bytes()) if file else None
    except (OSError, VerificationFailed) as error:
        raise typer.BadParameter(f"{file}: {error}") from None


def answers(url: str, me: Identity) -> None:
    """Unavailable if there is no server, as soon as of other commands; an agent waits for long."""
    with Stillhouse([url], me, Role.CLIENT, TRIES) as client:
        client.anchors()
