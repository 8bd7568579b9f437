"""`stillhouse serve`: the whole server on this machine, until Ctrl-C."""

import signal
from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console

from actors import start as wiring
from cluster.connect import connect
from configs.settings import Settings
from serve_app.deployment import run

LOCAL = Path(__file__).with_name("local.yaml")


def serve(
    settings: Annotated[Path, typer.Option(help="a YAML file like configs/local.yaml")] = LOCAL,
) -> None:
    """Start cluster, actors and API; state that is there already is taken up again."""
    console = Console()
    tree = Settings.load(settings)
    actors = tree.api.actors.model_copy(update={"state": tree.api.actors.state.resolve()})
    api = tree.api.model_copy(update={"actors": actors})
    if not actors.state.exists():
        console.print(f"new state in {actors.state}: keys and journals are made")
        wiring.initialise(actors)
    with console.status("starting the cluster"):
        connect(tree.cluster)
        wiring.start(actors)
        url = run(api)
    console.print(f"Stillhouse listens at [bold]{url}[/bold] (OpenAPI: {url}/openapi.json)")
    console.print("Ctrl-C stops it; state stays.")
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        ray.shutdown()


if __name__ == "__main__":
    typer.run(serve)
