"""`stillhouse serve`: it says where it listens, answers there, and ends when it is asked to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
import yaml
from api_house import SPEC

from configs.serve import Served
from edge_sim.deployment import free_ports
from stillhouse.entities import Role
from stillhouse.sdk import Stillhouse
from stillhouse.wire.identity import Identity

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@contextmanager
def serving(folder: Path, **chosen: object) -> Iterator[Served]:
    """A server in a process of its own; it must end cleanly."""
    api, chunks, replicas = free_ports(3)
    state = str(folder / "state")
    ports = {"api_port": api, "chunk_port": chunks, "replica_port": replicas}
    settings = folder / "settings.yaml"
    actors = {"state": state, **ports, **chosen}
    settings.write_text(yaml.safe_dump({"api": {"open_enrolment": True, "actors": actors}}))
    command = [sys.executable, "-m", "configs.serve", "--settings", str(settings), "--json"]
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as server,
    ):
        try:
            assert server.stdout is not None
            told = server.stdout.readline()
            assert told, (folder / "errors").read_text()
            yield Served.model_validate_json(told)
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
    assert code == 0
    assert "Traceback" not in (folder / "errors").read_text()


def client(endpoints: tuple[str, ...]) -> Stillhouse:
    made = Stillhouse(endpoints, Identity.derive(b"somebody"), Role.CLIENT)
    made.enrol()
    return made


def listener(url: str) -> int:
    """The process that listens there."""
    port = httpx2.URL(url).port
    found = [
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    ]
    assert found[0] is not None
    return found[0]


def test_a_server_starts_tells_its_url_and_ends_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path) as told:
        assert told.endpoints == (told.url,)
        port = httpx2.URL(told.url).port
        assert told.url == f"http://127.0.0.1:{port}"
        assert httpx2.get(f"{told.url}/readyz", timeout=30, trust_env=False).is_success
        found = httpx2.get(f"{told.url}/endpoints", timeout=30, trust_env=False)
        assert json.loads(found.content) == {"endpoints": [told.url]}
        assert (tmp_path / "state" / "vault.sqlite").exists()


def test_with_direct_ingress_a_killed_replica_costs_no_request(tmp_path: Path) -> None:
    with serving(tmp_path, ingress="direct") as told:
        *replicas, fixed = told.endpoints
        assert fixed == told.url
        assert len(replicas) == 2
        with client(told.endpoints) as somebody:
            profile = somebody.create_profile(somebody.enrol(), SPEC)
            for each in told.endpoints:
                with client((each,)) as one:
                    assert one.profile(profile.client_id, profile.id) == profile
            first = somebody.http.endpoints[0]
            os.kill(listener(first), signal.SIGKILL)
            for _ in range(50):
                assert somebody.profile(profile.client_id, profile.id) == profile
            assert somebody.http.endpoints[0] != first
            wait_until_both_answer(somebody)


def wait_until_both_answer(somebody: Stillhouse) -> None:
    """The replacement is named at the fixed port, and answers where it is named."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        *replicas, _ = somebody.endpoints().endpoints
        if len(replicas) == 2 and all(map(alive, replicas)):
            return
        time.sleep(0.5)
    raise AssertionError("no second replica")


def alive(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", timeout=5, trust_env=False).is_success
    except httpx2.TransportError:
        return False


def test_haproxy_takes_the_place_of_the_proxy(tmp_path: Path) -> None:
    with serving(tmp_path, ingress="haproxy", behind_tls=True) as told:
        assert told.endpoints == (told.url,)
        assert psutil.Process(listener(told.url)).name() == "haproxy"
        with client(told.endpoints) as somebody:
            profile = somebody.create_profile(somebody.enrol(), SPEC)
            assert somebody.profile(profile.client_id, profile.id) == profile
