"""`stillhouse serve`: the whole server on this machine, until Ctrl-C or SIGTERM."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console

from actors import start as wiring
from cluster.connect import connect, token_path
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
    fresh = wiring.open_state(actors)
    with console.status("starting the cluster"):
        cluster = connect(tree.cluster)
        wiring.start(actors)
        url = run(api)
    over = asked_to_stop()
    console.print(f"Stillhouse listens at [bold]{url}[/bold] (OpenAPI: {url}/openapi.json)", soft_wrap=True)
    console.print(
        f"State: {actors.state}" + (" (new: keys and journals are made)" if fresh else "")
    )
    if cluster.dashboard_url:
        address = f"http://{cluster.dashboard_url}"
        console.print(f"Ray dashboard: {address}, with the token in {token_path()}")
    if cluster.own:
        console.print("Ctrl-C stops it; state stays.")
        over.wait()
    else:
        console.print("It goes on there; `python -m configs.start --stop` ends its actors.")
    ray.shutdown()


def asked_to_stop() -> threading.Event:
    """Set by Ctrl-C or SIGTERM; Ray's own handlers, in place since it started, print a crash."""
    asked = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: asked.set())
    return asked


if __name__ == "__main__":
    typer.run(serve)
