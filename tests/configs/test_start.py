"""The command that starts actors on a running cluster: what it refuses before it touches one."""

from pathlib import Path

import typer
from typer.testing import CliRunner

from configs.start import start

app = typer.Typer()
app.command()(start)


def test_state_must_have_the_same_path_on_every_node(tmp_path: Path) -> None:
    settings = tmp_path / "cluster.yaml"
    settings.write_text("api: {actors: {state: here}}")
    answer = CliRunner().invoke(app, ["--settings", str(settings)])
    assert answer.exit_code == 2
    assert "absolute" in answer.output
