"""A deployment for one run: state of its own, and what earlier runs in the same folder left.

The cluster's keys stay in the folder, so that a family which an earlier run built, sealed to them,
can be opened again; journals and devices are new each time.
"""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray

from actors import start as wiring
from actors.settings import ActorSettings
from actors.start import Wiring
from cluster.connect import ClusterSettings, connect
from serve_app.deployment import ApiSettings, listener, remove, run
from stillhouse.entities import FamilyGrid


@dataclass(frozen=True, slots=True)
class Deployment:
    """A server that answers at `url`; `state` is the run's own folder, gone at its end."""

    url: str
    state: Path
    settings: ActorSettings
    wiring: Wiring


@contextmanager
def deployment(folder: Path, grid: FamilyGrid) -> Iterator[Deployment]:
    """Ray, the actors and the API; stopped, and its state removed, when the run is over.

    On a cluster that runs already, names and the path of the API are the run's own: nothing of
    another deployment there is touched, and the cluster stays.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="run-", dir=folder)).resolve()
    with ExitStack() as after:
        after.callback(shutil.rmtree, state, ignore_errors=True)
        own = connect(ClusterSettings()).own
        after.callback(ray.shutdown)
        settings = run_settings(state, folder.resolve() / "families", grid)
        prefix = "/" if own else f"/{settings.namespace}"
        api = ApiSettings(
            name=settings.namespace, route_prefix=prefix, actors=settings, open_enrolment=True
        )
        initialise(settings, folder / "keys")
        started = wiring.start(settings)
        if not own:
            after.callback(remove, api)
        yield Deployment(run(api), state, settings, started)


def run_settings(state: Path, families: Path, grid: FamilyGrid) -> ActorSettings:
    """Actors that end with this process, behind the Serve proxy that is there, or a new one."""
    api_port, chunk_port = free_ports(2)
    host, port = listener() or ("127.0.0.1", api_port)
    return ActorSettings(
        namespace=state.name,
        detached=False,
        state=state / "state",
        families=families,
        host=host,
        api_port=port,
        chunk_port=chunk_port,
        grid=grid,
    )


def initialise(settings: ActorSettings, keys: Path) -> None:
    """New journals, under the keys that earlier runs made, if there was one."""
    if keys.exists():
        shutil.copytree(keys, settings.keys)
    wiring.initialise(settings)
    if not keys.exists():
        shutil.copytree(settings.keys, keys)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
