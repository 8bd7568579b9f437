"""A second writer: the journal's epoch fences the first one, which answers nobody any more."""

from pathlib import Path

import pytest
import ray
from ray.exceptions import RayActorError

from actors import start as wiring
from actors.desk import own
from actors.job_manager import identity
from actors.settings import ActorSettings
from benchmarks.makers import model
from cluster.journal.sqlite import SqliteJournal
from edge_sim.deployment import free_ports
from stillhouse.commands import Announce
from stillhouse.rows import catalogue_key


@pytest.mark.slow
def test_a_fenced_job_manager_ends_and_its_successor_has_the_journal(
    ray_cluster: None, tmp_path: Path
) -> None:
    api_port, chunk_port = free_ports(2)
    settings = ActorSettings(
        namespace="fenced",
        detached=False,
        state=tmp_path / "state",
        shards=1,
        api_port=api_port,
        chunk_port=chunk_port,
        tick_s=3600,
    )
    wiring.initialise(settings)
    [manager] = wiring.start(settings).managers
    journal = SqliteJournal(settings.state / "shard-0.sqlite", identity(settings, 0))
    with pytest.raises(RayActorError):
        ray.get(manager.apply.remote([own(Announce("wrist", model=model()))]))
    with pytest.raises(RayActorError):
        ray.get(manager.ready.remote())  # it stays away: Ray restarts what crashed, not what ended
    assert journal.load([catalogue_key("wrist")]) == {}
    journal.close()
    wiring.stop(settings)
