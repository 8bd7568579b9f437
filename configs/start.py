"""`python -m configs.start`: the actors of a deployment on a cluster that runs already.

The API comes beside them: `serve deploy configs/serve.yaml`. Both read the same `api.actors`, and
the folder `state` must be one that every node sees under the same absolute path. `--stop` ends the
actors; state stays.
"""

from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console

from actors import start as wiring
from cluster.connect import connect
from configs.settings import Settings

CLUSTER = Path(__file__).with_name("cluster.yaml")


def start(
    settings: Annotated[Path, typer.Option(help="a YAML file like configs/cluster.yaml")] = CLUSTER,
    *,
    stop: Annotated[bool, typer.Option("--stop", help="end them instead")] = False,
) -> None:
    """Start the actors, or end them; state that is there already is taken up again."""
    console, tree = Console(), Settings.load(settings)
    actors = tree.api.actors
    if not actors.state.is_absolute():
        raise typer.BadParameter(f"api.actors.state must be absolute, not {actors.state}")
    if connect(tree.cluster).own:
        ray.shutdown()
        raise typer.BadParameter("set cluster.address or RAY_ADDRESS: there is no cluster to join")
    if stop:
        wiring.stop(actors)
        console.print("the actors have ended; state stays")
        return
    wiring.open_state(actors)
    wiring.start(actors)
    console.print(f"the actors run in namespace {actors.namespace}, their state is {actors.state}")


if __name__ == "__main__":
    typer.run(start)
