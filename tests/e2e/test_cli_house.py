"""The command on a real cluster, as a person would use it, from a model's folder to a verdict."""

import json
from pathlib import Path

import pytest
import tiny
import yaml
from cluster_house import House, files
from typer.testing import CliRunner

from stillhouse import cli

pytestmark = pytest.mark.slow
LIMITS = (
    "--memory-bytes", "10000000", "--storage-bytes", "1000000", "--latency-p95-ms", "10000",
    "--max-accuracy-drop", "0.9",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What `models add` takes."""
    folder = tmp_path / "model"
    folder.mkdir()
    spec = tiny.SPEC.model_dump(mode="json", exclude={"files"})
    (folder / "model.yaml").write_text(yaml.safe_dump(spec))
    names = {"weights": "weights.safetensors"}
    for name, data in files().items():
        (folder / names.get(name, f"{name}.parquet")).write_bytes(data)
    return folder


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(tiny.recordings(5).to_parquet())
    (folder / "validation.parquet").write_bytes(tiny.recordings(6).to_parquet())
    return folder


def test_from_a_models_folder_to_a_verdict(
    house: House,
    model: Path,
    private: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STILLHOUSE_URL", house.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == exit_code, result.output
        return result.output

    def told(*arguments: str, exit_code: int = 0) -> dict:
        return json.loads(run(*arguments, "--json", exit_code=exit_code))

    assert told("models", "add", "by-hand", str(model))["state"] == "AVAILABLE"
    assert "by-hand" in run("models", "list")
    assert "AVAILABLE" in run("models", "show", "by-hand@1")

    profile = told("profiles", "set", *LIMITS)
    changed = told("profiles", "set", profile["id"], *LIMITS, "--cpu-cores", "2")
    assert (changed["revision"], changed["spec"]["cpu_cores"]) == (2, 2)
    assert told("profiles", "get", profile["id"]) == changed
    assert profile["id"] in run("profiles", "list")

    job = told("jobs", "submit", "not-there-yet", profile["id"])
    assert job["state"] == "ACCEPTED"
    assert "await_model BLOCKED" in run("jobs", "graph", job["id"])
    assert told("jobs", "status", job["id"])["job"]["id"] == job["id"]
    run("profiles", "rm", profile["id"], exit_code=4)
    assert "CANCELLED" in run("jobs", "cancel", job["id"])
    assert "JobClosed" in run("jobs", "watch", job["id"], "--json", exit_code=3)
    assert told("profiles", "rm", profile["id"])["id"] == profile["id"]

    device = tmp_path / "device"
    status = told(
        "edge", "run", "by-hand", "--data", str(private), "--folder", str(device), *LIMITS
    )
    assert status["verdict"]["kind"] == "MET"
    assert status["metrics"][-1]["source"] == "measured"
    mine = ("--keys", str(device / "device.key"))
    assert "MET" in run("jobs", "watch", status["job"]["id"], *mine)
    assert "round 1" in run("jobs", "explain", status["job"]["id"], *mine)
    page = told("jobs", "list", "--as", "operator", "--verdict", "MET", "--limit", "1")
    assert page["jobs"][0]["verdict"]["kind"] == "MET"
    run("jobs", "status", status["job"]["id"], exit_code=4)  # another client's
