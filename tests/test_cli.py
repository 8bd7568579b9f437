"""The command: what it prints is for people, its exit code is for scripts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stillhouse import cli
from stillhouse.errors import Invalid, NotFound, StillhouseError, Unavailable, VerificationFailed


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotFound("x"), 4), (Invalid("x"), 4), (Unavailable("x"), 5), (VerificationFailed("x"), 1)],
)
def test_each_kind_of_error_has_its_exit_code(error: StillhouseError, code: int) -> None:
    assert cli.exit_code(error) == code


def test_the_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "operator.key"
    assert cli.identity(file).public == cli.identity(file).public
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_unreachable_server_is_exit_code_5(tmp_path: Path) -> None:
    arguments = ["status", "job", "--url", "http://127.0.0.1:1", "--keys", str(tmp_path / "key")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == cli.UNREACHABLE
    assert "Unavailable: no answer" in result.output


def test_plain_http_to_another_host_is_refused(tmp_path: Path) -> None:
    arguments = ["status", "job", "--url", "http://example.org", "--keys", str(tmp_path / "key")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == cli.REFUSED
    assert "use https" in result.output


def test_server_verbs_come_in_through_the_entry_points() -> None:
    result = CliRunner().invoke(cli.app, ["--help"])
    assert {"status", "serve", "demo"} <= set(result.output.split())
