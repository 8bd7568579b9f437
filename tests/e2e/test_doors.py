"""Ray's doors, on a head that another process started: job submit, serve deploy, metrics.

All of it runs as a person runs it, as commands. The head's processes are ended by their ids.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from api_house import SPEC

from actors.settings import ActorSettings
from edge_sim.deployment import free_ports
from serve_app.deployment import ApiSettings
from stillhouse.entities import Role
from stillhouse.sdk import Stillhouse
from stillhouse.wire.identity import Identity

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCENARIO = """
name: door
seed: 0
central_model: wrist
central_epochs: 1
baselines: false
grid: {widths: [0.25, 1.0], depths: [[3], [3]], bits: [8]}
devices:
  - name: watch
    person: 0
    submit: after_model
    feasible: true
    profile: {cpu_cores: 1, memory_bytes: 400000, storage_bytes: 300000, latency_p95_ms: 60,
              max_accuracy_drop: 0.9}
    model: {anchor_latency_ms: 4.0, int8_gain: 0.75, memory_bytes: 600000}
"""


@dataclass(frozen=True)
class Head:
    """A running cluster, as somebody else's."""

    folder: Path
    environment: dict[str, str]
    address: str
    metrics_url: str

    def command(self, *words: str, timeout_s: float = 120) -> str:
        """Run a command against it from the checkout; what it wrote."""
        done = subprocess.run(
            words, cwd=ROOT, env=self.environment, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def actors(self) -> dict[str, str]:
        """Classes of the living actors by name."""
        words = ("list", "actors", "--filter", "state=ALIVE", "--format", "json", "--limit", "500")
        answer = self.command(str(BIN / "ray"), *words).strip()
        found = json.loads(answer) if answer.startswith("[") else []  # words where there is none
        return {actor["name"]: actor["class_name"] for actor in found}

    def metrics(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of a metric, by those of its tags that are ours, summed over workers."""
        text = urllib.request.urlopen(self.metrics_url, timeout=10).read().decode()
        found: dict[tuple[str, ...], float] = {}
        for line in text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == f"ray_stillhouse_{name}":
                tags = dict(tag.split("=", 1) for tag in series[:-1].partition("{")[2].split(","))
                ours = tuple(tags[t].strip('"') for t in ("publisher", "state") if t in tags)
                found[ours] = found.get(ours, 0) + float(value)
        return found


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = Path(tmp_path_factory.mktemp("h"))
    token = folder / "token"
    token.write_text("0" * 64)
    token.chmod(0o600)
    gcs, dashboard, client, agent, metrics = map(str, free_ports(5))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "RAY_DASHBOARD_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "OMP_NUM_THREADS": "1",
    }
    options = {
        "port": gcs, "dashboard-host": "127.0.0.1", "dashboard-port": dashboard,
        "ray-client-server-port": client, "dashboard-agent-listen-port": agent,
        "metrics-export-port": metrics, "min-worker-port": "0", "max-worker-port": "0",
        "num-cpus": "8", "object-store-memory": str(256 << 20), "labels": "tier=cpu",
        "temp-dir": str(folder / "r"),
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items()]
    there = Head(folder, environment, f"127.0.0.1:{gcs}", f"http://127.0.0.1:{metrics}/metrics")
    try:
        there.command(str(BIN / "ray"), "start", "--head", *words)
        yield there
    finally:
        end_all(str(folder / "r"))


def end_all(folder: str) -> None:
    """End the processes of the cluster that lives in `folder`: a raylet's end is its workers'."""
    ours = [
        p for p in psutil.process_iter(["cmdline"]) if folder in " ".join(p.info["cmdline"] or ())
    ]
    children = [child for process in ours for child in process.children(recursive=True)]
    for process in (*ours, *children):
        if process.is_running():
            process.kill()
    psutil.wait_procs(ours, timeout=10)


def until(found: Any, wanted: Any, timeout_s: float = 60) -> None:
    """Wait until `found()` gives `wanted`: metrics leave a worker every ten seconds."""
    deadline = time.monotonic() + timeout_s
    while (last := found()) != wanted:
        assert time.monotonic() < deadline, last
        time.sleep(1)


def test_a_submitted_job_shows_the_report_in_its_log_and_leaves_nothing_behind(head: Head) -> None:
    scenario = head.folder / "door.yaml"
    scenario.write_text(SCENARIO)
    submit = ("ray", "job", "submit", "--submission-id", "door", "--working-dir", ".", "--")
    log = head.command(*submit, "python", "-m", "edge_sim", str(scenario), timeout_s=300)
    assert "the API listens at" in log
    assert "watch: w0.25 d3-3 int8 is within every limit" in log
    assert "Job 'door' succeeded" in log
    told = log.partition("the API listens at")[2].partition("wall time")[0]
    assert not [each for each in told.splitlines() if "\x1b[" in each and "(raylet)" not in each]
    assert not set(head.actors().values()) & {"ModelVault", "JobManager", "ChunkServer", "EdgeHost"}
    [uploaded] = (head.folder / "r").glob("session_2*/runtime_resources/working_dir_files/_*/")
    assert {"stillhouse", "edge_sim", "configs"} <= {path.name for path in uploaded.iterdir()}
    assert not {".venv", ".git", "tests"} & {path.name for path in uploaded.iterdir()}


def test_serve_deploy_finds_the_actors_that_another_command_started(head: Head) -> None:
    api_port, chunk_port = free_ports(2)
    actors = ActorSettings(
        state=head.folder / "state", shards=1, api_port=api_port, chunk_port=chunk_port
    )
    api = ApiSettings(actors=actors, open_enrolment=True, replicas=1)
    settings = written(head, "cluster.yaml", {
        "cluster": {"address": head.address}, "api": api.model_dump(mode="json")
    })  # fmt: skip
    document = yaml.safe_load((ROOT / "configs" / "serve.yaml").read_text())
    document["http_options"]["port"] = api_port
    document["applications"][0]["args"] = api.model_dump(mode="json")
    start = (str(BIN / "python"), "-m", "configs.start", "--settings", settings)
    head.command(*start)
    head.command("serve", "deploy", written(head, "serve.yaml", document))
    with Stillhouse([api.url], Identity.derive(b"somebody"), Role.CLIENT) as client:
        until(lambda: answers(api.url), True)
        client.enrol()
        profile = client.create_profile(client.http.key_id.partition("/")[0], SPEC)
        client.submit(profile.client_id, "missing", profile.id)
    names = head.actors()
    assert (names["job-manager-0"], names["model-vault"]) == ("JobManager", "ModelVault")
    assert "ServeReplica:stillhouse:Api" in names.values()
    accepted = {("shard-0", "ACCEPTED"): 1.0}
    until(lambda: head.metrics("jobs"), accepted)
    head.command(*start, "--stop")
    until(lambda: {"JobManager", "ModelVault"} & set(head.actors().values()), set())
    until(lambda: head.metrics("jobs"), {})
    head.command(*start)
    until(lambda: head.metrics("jobs"), accepted)


def written(head: Head, name: str, document: Any) -> str:
    path = head.folder / name
    path.write_text(yaml.safe_dump(document))
    return str(path)


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"{url}/readyz", timeout=5).status == 200)
    except OSError:
        return False
