"""The command: what it prints is for people, its exit code is for scripts."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tiny
import yaml
from fakes import LocalBackend
from typer.testing import CliRunner

from actors.listener import listen
from edge_sim.deployment import free_ports
from serve_app.app import create_app
from stillhouse import cli
from stillhouse.cli import door, models
from stillhouse.entities import Role
from stillhouse.errors import Invalid, NotFound, StillhouseError, Unavailable, VerificationFailed

MODEL = tiny.SPEC.model_dump(mode="json", exclude={"files"})
LIMITS = (
    "--memory-bytes", "10000000", "--storage-bytes", "1000000", "--latency-p95-ms", "10000",
    "--max-accuracy-drop", "0.9",
)  # fmt: skip
NOWHERE = "http://127.0.0.1:1"


class Server:
    """The API over HTTP; while `away` there are no events."""

    def __init__(self) -> None:
        [port] = free_ports(1)
        self.url, self.away = f"http://127.0.0.1:{port}", False
        backend = LocalBackend()
        hosts = (f"127.0.0.1:{port}",)
        self._app = create_app(backend, backend.find, hosts, open_enrolment=True)
        listen(self, "127.0.0.1", port)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.away and scope["path"].endswith("/events"):
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def server() -> Server:
    made = Server()
    door_opens(made.url)
    return made


def door_opens(url: str) -> None:
    for _ in range(100):
        try:
            httpx2.get(f"{url}/readyz", trust_env=False)
            return
        except httpx2.TransportError:
            time.sleep(0.05)


def run(*arguments: str | Path, exit_code: int) -> str:
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotFound("x"), 4), (Invalid("x"), 4), (Unavailable("x"), 5), (VerificationFailed("x"), 1)],
)
def test_each_kind_of_error_has_its_exit_code(error: StillhouseError, code: int) -> None:
    assert door.exit_code(error) == code


def test_the_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "stillhouse" / "operator.key"
    assert door.identity(file).public == door.identity(file).public
    assert file.stat().st_mode & 0o777 == 0o600


def test_each_role_has_a_key_of_its_own_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    files = {door.key_file(role) for role in door.Role}
    assert len(files) == len(door.Role)
    assert {file.parent for file in files} == {tmp_path / "stillhouse"}


def test_an_unreachable_server_is_exit_code_5(tmp_path: Path) -> None:
    told = run("jobs", "list", "--url", NOWHERE, "--keys", tmp_path / "key", exit_code=5)
    assert "no answer from http://127.0.0.1:1" in told


def test_plain_http_to_another_host_is_refused(tmp_path: Path) -> None:
    keys = ("--url", "http://example.org", "--keys", tmp_path / "key")
    assert "use https" in run("profiles", "list", *keys, exit_code=4)


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list", "--state", "LOST"),
        ("profiles", "set", "--latency-p95-ms", "fast"),
        ("profiles", "set", "--latency-p95-ms", "9"),
        ("models", "show", "wrist@production"),
        ("models", "add", "wrist", "nowhere"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_code_2_and_asks_nobody(arguments: tuple[str, ...]) -> None:
    extra = ("--url", NOWHERE) if len(arguments) > 1 else ()
    run(*arguments, *extra, exit_code=2)


def test_a_profile_that_lacks_limits_names_each_of_them_in_words(tmp_path: Path) -> None:
    told = run("profiles", "set", "--latency-p95-ms", "9", "--url", NOWHERE, exit_code=2)
    assert "memory_bytes: field required; storage_bytes:" in " ".join(told.split())
    assert "pydantic" not in told


def test_a_folder_that_is_no_central_model_says_what_is_missing(tmp_path: Path) -> None:
    told = run("models", "add", "wrist", tmp_path, "--url", NOWHERE, exit_code=2)
    assert "model.yaml" in told.replace("\n", "")


def test_all_verbs_are_there_and_the_servers_come_in_through_entry_points() -> None:
    words = set(run("--help", exit_code=0).split())
    assert {"models", "profiles", "jobs", "edge", "doctor", "serve", "demo"} <= words


def test_a_verb_of_the_server_is_loaded_with_its_options() -> None:
    assert "--chaos" in run("demo", "--help", exit_code=0)


def test_help_imports_neither_ray_nor_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom stillhouse import cli\n"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0\n"
        "assert not {'ray', 'torch'} & set(sys.modules), 'too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_doctor_finds_an_open_key_file_and_says_how_to_close_it(tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    door.identity(key)
    key.chmod(0o644)
    arguments = ("doctor", "--json", "--url", NOWHERE, "--keys", key)
    findings = {each["what"]: each for each in json.loads(run(*arguments, exit_code=1))["findings"]}
    assert findings["key"]["health"] == "fail"
    assert findings["key"]["action"] == f"chmod 600 {key}"
    assert findings["API"]["health"] == "unreachable"
    assert findings["python"]["health"] == "ok"
    key.chmod(0o600)
    run(*arguments, exit_code=5)


def device_data(folder: Path) -> Path:
    for part in ("train", "validation"):
        (folder / f"{part}.parquet").write_bytes(tiny.recordings(5).to_parquet())
    return folder


def edge(data: Path, *more: str | Path, exit_code: int) -> str:
    device = ("--folder", data / "device", "--url", NOWHERE)
    told = run("edge", "run", "wrist", "--data", data, *device, *LIMITS, *more, exit_code=exit_code)
    return re.sub(r"[\s│]", "", told)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_device_without_its_data_is_wrong_usage(tmp_path: Path, part: str) -> None:
    (device_data(tmp_path) / f"{part}.parquet").unlink()
    assert f"{part}.parquet" in edge(tmp_path, exit_code=2)


def test_a_device_with_other_files_is_wrong_usage(tmp_path: Path) -> None:
    windows = device_data(tmp_path) / "windows.bin"
    windows.write_bytes(b"something else")
    assert "windows.bin" in edge(tmp_path, "--windows", windows, exit_code=2)
    (tmp_path / "validation.parquet").write_bytes(b"something else")
    assert "validation.parquet" in edge(tmp_path, exit_code=2)


def test_a_device_waits_for_the_first_answer_no_longer_than_other_commands(tmp_path: Path) -> None:
    began = time.monotonic()
    edge(device_data(tmp_path), exit_code=5)
    assert time.monotonic() - began < 20


def model_folder(folder: Path, *documents: str) -> Path:
    for name in documents:
        text = json.dumps(MODEL) if name.endswith("json") else yaml.safe_dump(MODEL)
        (folder / name).write_text(text)
    for file in models.FILES.values():
        (folder / file).write_bytes(file.encode())
    return folder


@pytest.mark.parametrize("document", ["model.yaml", "model.json"])
def test_a_models_document_is_yaml_or_json(tmp_path: Path, document: str) -> None:
    spec, files = models.read(model_folder(tmp_path, document))
    assert spec == tiny.SPEC
    assert files["weights"] == b"weights.safetensors"


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"labels": 1}'])
def test_what_is_no_document_of_a_model_is_wrong_usage(tmp_path: Path, text: str) -> None:
    (model_folder(tmp_path) / "model.json").write_text(text)
    run("models", "add", "wrist", tmp_path, "--url", NOWHERE, exit_code=2)


def test_models_are_shown_to_each_role_and_a_name_without_versions_is_said(
    server: Server, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path, "model.json")

    def models_(*arguments: str | Path, role: Role, exit_code: int = 0) -> str:
        there = ("--url", server.url, "--keys", tmp_path / f"{role}.key")
        return run("models", *arguments, *there, exit_code=exit_code)

    models_("add", "wrist", folder, "--no-wait", role=Role.OWNER)
    assert "wrist@1: EVALUATING" in models_("show", "wrist", role=Role.OWNER)
    assert "wrist" in models_("list", "--as", Role.OPERATOR, role=Role.OPERATOR)
    assert "wrist" not in models_("list", "--as", Role.CLIENT, role=Role.CLIENT)
    hidden = models_("show", "wrist", "--as", "client", role=Role.CLIENT, exit_code=4)
    assert "wrist has no version that you may see" in hidden
    assert "no such central model" in models_("show", "other", role=Role.OWNER, exit_code=4)


def test_watching_ends_with_5_when_the_api_stays_away(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillhouse.sdk.events.FAILURES", 2)
    mine = ("--url", server.url, "--keys", tmp_path / "key")
    profile = json.loads(run("profiles", "set", *LIMITS, "--json", *mine, exit_code=0))
    job = json.loads(run("jobs", "submit", "wrist", profile["id"], "--json", *mine, exit_code=0))
    monkeypatch.setattr(server, "away", True)
    assert "do not go on" in run("jobs", "watch", job["id"], *mine, exit_code=5)
    monkeypatch.setattr(server, "away", False)
    run("jobs", "cancel", job["id"], *mine, exit_code=0)
    assert "asks for wrist" in run("jobs", "watch", job["id"], *mine, exit_code=3)
