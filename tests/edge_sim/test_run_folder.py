"""A run's deployment: new journals under the keys that earlier runs made."""

from pathlib import Path

import pytest

from actors.settings import ActorSettings
from edge_sim.deployment import initialise
from stillhouse.errors import Conflict


def settings(folder: Path) -> ActorSettings:
    return ActorSettings(state=folder / "state")


def test_two_runs_in_one_folder_have_the_same_keys_and_journals_of_their_own(
    tmp_path: Path,
) -> None:
    first, second = settings(tmp_path / "first"), settings(tmp_path / "second")
    for each in (first, second):
        initialise(each, tmp_path / "keys")
    names = {path.name for path in first.keys.iterdir()}
    assert {"cluster.key", "manifest.key", "acks.key"} <= names
    for name in names:
        kept = (tmp_path / "keys" / name).read_bytes()
        assert (first.keys / name).read_bytes() == (second.keys / name).read_bytes() == kept
        assert (second.keys / name).stat().st_mode & 0o077 == 0
    assert (second.state / "vault.sqlite").exists()


def test_another_folder_has_other_keys(tmp_path: Path) -> None:
    for name in ("one", "two"):
        initialise(settings(tmp_path / name), tmp_path / name / "keys")
    one, two = ((tmp_path / name / "keys" / "cluster.key").read_bytes() for name in ("one", "two"))
    assert one != two


def test_a_state_is_never_begun_twice(tmp_path: Path) -> None:
    initialise(settings(tmp_path), tmp_path / "keys")
    with pytest.raises((Conflict, FileExistsError)):
        initialise(settings(tmp_path), tmp_path / "keys")
