"""The command: what it prints is for people, its exit code is for scripts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stillhouse import cli
from stillhouse.cli import door
from stillhouse.errors import Invalid, NotFound, StillhouseError, Unavailable, VerificationFailed

NOWHERE = "http://127.0.0.1:1"


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
