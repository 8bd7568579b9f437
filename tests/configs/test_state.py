"""`stillhouse state`: the same words for people, JSON for programs, exit codes for scripts."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import apsw
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from actors import start as wiring
from actors.settings import ActorSettings
from cluster.journal.migration import EARLIER
from configs.state import state as app
from stillhouse.cli.door import FAILED, REFUSED
from stillhouse.cli.verbs import GROUP, command

OLD = Path(__file__).parents[1] / "cluster"


@pytest.fixture
def actors(tmp_path: Path) -> ActorSettings:
    return ActorSettings(state=tmp_path / "state")


@pytest.fixture
def settings(actors: ActorSettings, tmp_path: Path) -> Path:
    """A settings file for a state that was just initialised."""
    wiring.initialise(actors)
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"api": {"actors": {"state": str(actors.state)}}}))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_verb_comes_in_as_a_group_of_its_own() -> None:
    verb = EntryPoint("state", "configs.state:state", GROUP).load()
    assert isinstance(verb, typer.Typer)
    assert set(command("state", verb).commands) == {"backup", "restore", "migrate", "check"}


def test_what_was_backed_up_can_be_restored_elsewhere_and_is_sound(
    settings: Path, actors: ActorSettings, tmp_path: Path
) -> None:
    copied = document(run("backup", tmp_path / "copy", "--settings", settings, "--json"))
    assert copied["files"] == 7  # two shards, the vault, three keys and their public halves
    actors.state.rename(tmp_path / "lost")
    restored = document(run("restore", tmp_path / "copy", "--settings", settings, "--json"))
    assert restored == copied
    checked = document(run("check", "--settings", settings, "--json"))
    names = [finding["name"] for finding in checked["findings"]]
    assert names == ["shard-0.sqlite", "shard-1.sqlite", "vault.sqlite"]
    assert {finding["wrong"] for finding in checked["findings"]} == {""}


def test_people_get_words(settings: Path, tmp_path: Path) -> None:
    assert "7 files" in run("backup", tmp_path / "copy", "--settings", settings).stdout
    assert "sound" in run("check", "--settings", settings).stdout
    assert "nothing to do" in run("migrate", "--settings", settings).stdout


def test_what_exists_is_not_overwritten(settings: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path, "--settings", settings).exit_code == REFUSED
    run("backup", tmp_path / "copy", "--settings", settings)
    assert run("restore", tmp_path / "copy", "--settings", settings).exit_code == REFUSED


def test_a_damaged_copy_fails(settings: Path, actors: ActorSettings, tmp_path: Path) -> None:
    run("backup", tmp_path / "copy", "--settings", settings)
    actors.state.rename(tmp_path / "lost")
    (tmp_path / "copy" / "vault.sqlite").write_bytes(b"other")
    assert run("restore", tmp_path / "copy", "--settings", settings).exit_code == FAILED
    assert not actors.state.exists()


def test_a_missing_and_a_damaged_journal_are_found(settings: Path, actors: ActorSettings) -> None:
    (actors.state / "shard-0.sqlite").unlink()
    with (actors.state / "shard-1.sqlite").open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    result = run("check", "--settings", settings, "--json")
    assert result.exit_code == FAILED
    missing, damaged, sound = json.loads(result.stdout)["findings"]
    assert "there is no journal" in missing["wrong"]
    assert damaged["wrong"]
    assert sound["wrong"] == ""


def put_old(actors: ActorSettings, name: str, schema: int) -> Path:
    """In the place of a journal, one that an earlier release left."""
    path = actors.state / f"{name}.sqlite"
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute((OLD / f"schema_{schema}" / f"{name}.sql").read_text())
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.close()
    return path


@pytest.mark.parametrize("schema", EARLIER)
def test_a_journal_of_an_earlier_schema_is_named_and_migrated(
    settings: Path, actors: ActorSettings, schema: int
) -> None:
    for name in ("shard-0", "vault"):
        put_old(actors, name, schema)
    result = run("check", "--settings", settings, "--json")
    assert result.exit_code == FAILED
    wrong = json.loads(result.stdout)["findings"][0]["wrong"]
    assert wrong == f"of schema {schema}: run `stillhouse state migrate`"
    migrated = document(run("migrate", "--settings", settings, "--json"))
    assert migrated["journals"] == ["shard-0.sqlite", "vault.sqlite"]
    assert "register each central model again" in migrated["left_to_do"]
    checked = document(run("check", "--settings", settings, "--json"))
    assert checked["findings"][0]["found"]["states"]["ENDED"] == 1
    assert {finding["wrong"] for finding in checked["findings"]} == {""}


def test_who_migrates_a_vault_is_told_to_register_its_models_again(
    settings: Path, actors: ActorSettings
) -> None:
    put_old(actors, "shard-0", 3)
    assert "again" not in run("migrate", "--settings", settings).stdout
    put_old(actors, "vault", 3)
    told = " ".join(run("migrate", "--settings", settings).stdout.split())
    assert "migrated: vault.sqlite Families" in told
    assert "register each central model again, as a new version" in told


def test_settings_that_are_none_are_misuse(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("api: {actors: {sharts: 3}}")
    for given in (tmp_path / "none.yaml", wrong):
        result = run("check", "--settings", given)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_a_state_that_is_in_use_is_not_migrated(settings: Path, actors: ActorSettings) -> None:
    server = apsw.Connection(str(put_old(actors, "shard-0", 3)))
    server.execute("BEGIN IMMEDIATE")
    result = run("migrate", "--settings", settings)
    assert result.exit_code == REFUSED
    assert "stop the server" in " ".join(result.output.split())
    server.close()
