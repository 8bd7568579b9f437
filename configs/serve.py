"""`stillhouse serve`: the whole server on this machine, until Ctrl-C or SIGTERM."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console

from actors import start as wiring
from cluster.connect import Cluster, connect, token_path
from configs.settings import Settings
from serve_app.deployment import check, run
from stillhouse.cli.door import failing
from stillhouse.entities import Entity

LOCAL = Path(__file__).with_name("local.yaml")
LASTS = "It goes on there without this process; `python -m configs.start --stop` ends its actors."


class Served(Entity):
    """Where the server is, for programs."""

    url: str
    endpoints: tuple[str, ...]  # for a client to be given: those of the replicas, then the url
    state: str
    dashboard: str | None


def serve(
    settings: Annotated[Path, typer.Option(help="a YAML file like configs/local.yaml")] = LOCAL,
    json: Annotated[bool, typer.Option("--json", help="one JSON line once it listens")] = False,
) -> None:
    """Start cluster, actors and API; state that is there already is taken up again."""
    console = Console(stderr=json)
    tree = Settings.load(settings)
    actors = tree.api.actors.model_copy(update={"state": tree.api.actors.state.resolve()})
    api = tree.api.model_copy(update={"actors": actors})
    with failing():
        fresh = wiring.open_state(actors)
        with console.status("starting the cluster"):
            check(api)
            cluster = connect(tree.cluster, actors.ingress, actors.replica_port)
            wiring.start(actors)
            url = run(api)
            endpoints = [*api.doors.ask(), url]
    over = asked_to_stop()
    news = " (new: keys and journals are made)" if fresh else ""
    told = (
        f"Stillhouse listens at [bold]{url}[/bold] (OpenAPI: {url}/openapi.json)",
        f"Its replicas: {', '.join(endpoints[:-1])}" if endpoints[1:] else "",
        f"State: {actors.state}{news}",
        dashboard(cluster),
        LASTS if not cluster.own else "Ctrl-C stops it; state stays.",
    )
    for line in filter(None, told):
        console.print(line, soft_wrap=True)
    if json:
        served = Served(
            url=url,
            endpoints=tuple(endpoints),
            state=str(actors.state),
            dashboard=cluster.dashboard_url or None,
        )
        typer.echo(served.model_dump_json())
    if cluster.own:
        over.wait()
    ray.shutdown()


def dashboard(cluster: Cluster) -> str:
    """Where Ray's own page is, and what it asks for; empty where there is none."""
    url = cluster.dashboard_url
    return f"Ray dashboard: http://{url}, with the token in {token_path()}" if url else ""


def asked_to_stop() -> threading.Event:
    """Set by Ctrl-C or SIGTERM; Ray's own handlers, in place since it started, print a crash."""
    asked = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: asked.set())
    return asked


if __name__ == "__main__":
    typer.run(serve)
