"""One Ray cluster and one Serve for all tests that need them; the others never start it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray reads it when it is imported
if "RAY_AUTH_TOKEN_PATH" not in os.environ:
    handle, path = tempfile.mkstemp(prefix="token-")  # 0600
    os.write(handle, os.urandom(16).hex().encode())
    os.close(handle)
    os.environ["RAY_AUTH_TOKEN_PATH"] = path

import ray
import tiny
from cluster_house import House

from actors import start as wiring
from actors.settings import ActorSettings
from cluster.connect import ClusterSettings, connect
from edge_sim.deployment import free_ports
from serve_app.deployment import ApiSettings, run


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    connect(ClusterSettings(object_store_bytes=256 << 20))
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def house(ray_cluster: None) -> Iterator[House]:
    api_port, chunk_port = free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        settings = ActorSettings(
            state=Path(folder) / "state", api_port=api_port, chunk_port=chunk_port, grid=tiny.GRID
        )
        wiring.initialise(settings)
        wired = wiring.start(settings)
        yield House(run(ApiSettings(actors=settings, open_enrolment=True)), settings, wired)
