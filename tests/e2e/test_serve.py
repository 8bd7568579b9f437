"""`stillhouse serve`: it says where it listens, answers there, and ends when it is asked to."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml

from edge_sim.deployment import free_ports

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_a_server_starts_tells_its_url_and_ends_cleanly(tmp_path: Path) -> None:
    api, chunks = free_ports(2)
    actors = {"state": str(tmp_path / "state"), "api_port": api, "chunk_port": chunks}
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"api": {"open_enrolment": True, "actors": actors}}))
    command = [sys.executable, "-m", "configs.serve", "--settings", str(settings), "--json"]
    with (
        (tmp_path / "errors").open("w") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as server,
    ):
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            assert told["url"] == f"http://127.0.0.1:{api}"
            assert httpx2.get(f"{told['url']}/readyz", timeout=30, trust_env=False).is_success
            assert (tmp_path / "state" / "vault.sqlite").exists()
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
    assert code == 0
    assert "Traceback" not in (tmp_path / "errors").read_text()
