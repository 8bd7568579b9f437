"""State is made once and whole, and what it is not is said before any process starts."""

import shutil
from pathlib import Path

import pytest
from kills import killed_at_rename

from actors.settings import ActorSettings
from actors.start import journals, open_state
from cluster.journal import sqlite
from cluster.journal.inspection import identity_of
from cluster.journal.migration import EARLIER
from stillhouse.errors import Invalid, JournalMissing


@pytest.fixture
def settings(tmp_path: Path) -> ActorSettings:
    return ActorSettings(state=tmp_path / "state")


def test_it_is_made_once_and_then_taken_up_again(settings: ActorSettings) -> None:
    assert open_state(settings)
    assert not open_state(settings)
    for path, identity in journals(settings).items():
        assert identity_of(path) == identity


def test_killed_while_it_is_made_it_is_not_there_and_the_next_start_makes_it(
    settings: ActorSettings,
) -> None:
    number = 1
    while killed_at_rename(number, lambda: open_state(settings)):
        assert not settings.state.exists()
        number += 1
    assert number > 1
    assert not open_state(settings)


def test_state_of_another_number_of_shards_is_refused(settings: ActorSettings) -> None:
    open_state(settings)
    with pytest.raises(Invalid, match="is of"):
        open_state(settings.model_copy(update={"shards": 1}))


@pytest.mark.parametrize("schema", EARLIER)
def test_an_older_schema_is_told_what_to_run(settings: ActorSettings, schema: int) -> None:
    open_state(settings)
    connection = sqlite.connect(settings.state / "shard-1.sqlite")
    connection.execute("UPDATE journal SET schema = ?", (schema,))
    connection.close()
    with pytest.raises(Invalid, match="stillhouse state migrate"):
        open_state(settings)


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_missing_journal_is_not_made_anew(settings: ActorSettings, left: str) -> None:
    open_state(settings)
    path = settings.state / "shard-0.sqlite"
    path.unlink()
    for beside in settings.state.glob("shard-0.sqlite-*"):
        beside.unlink()
    if left == "an empty file":
        path.touch()
    with pytest.raises(JournalMissing):
        open_state(settings)
    shutil.rmtree(settings.state)
