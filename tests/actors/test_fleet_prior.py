"""The fleet's reader: every device's first report is counted once, whatever restarts or repeats."""

import time
from collections.abc import Mapping

import pytest
from fakes import LocalShard, memory, rules
from simulated import FAMILY

from actors.desk import own
from actors.fleet_prior import Reader
from actors.model_vault import announced as fed
from actors.reading import FleetReports, fleet_reports, order
from benchmarks.control.workload import Client, announced, whole_job
from benchmarks.makers import STUDENT
from cluster.store import Store
from stillhouse import vault
from stillhouse.commands import AnnouncePrior, LearnFromFleet
from stillhouse.decisions import Answer
from stillhouse.errors import StaleAttempt
from stillhouse.fleet import NEWS
from stillhouse.versions import FLEET, FleetRow, fleet_key

DIGEST = "b" * 64
TABLE = FAMILY.model_copy(update={"family_digest": DIGEST})


class Cluster:
    """Two shards and the vault, without Ray; `reader` is what a restart loses."""

    def __init__(self) -> None:
        self.shards = {"one": LocalShard(), "two": LocalShard()}
        self.vault = Store(rules(vault), memory())
        for shard in self.shards.values():
            shard.store.apply([announced()], time.time())
        self.restart()

    def restart(self) -> None:
        self.reader = Reader(tuple(self.shards), self.read, lambda _: TABLE)

    def read(self, behind: Mapping[str, int]) -> dict[str, FleetReports]:
        return {
            name: fleet_reports(self.shards[name].store, self.shards[name].journal, at)
            for name, at in behind.items()
        }

    def job(self, shard: str, number: int, job: int = 1) -> None:
        client = Client.numbered(number)
        store = self.shards[shard].store
        if job == 1:
            store.apply(list(client.enrolled()), time.time())
        answers = store.apply(whole_job(client, job, chunks=1, probes=job == 1), time.time())
        assert all(isinstance(answer, Answer) for answer in answers.answers), answers.answers

    @property
    def counted(self) -> dict[str, int]:
        row = self.vault.rows([FLEET])[FLEET]
        return row.sequences if row else {}

    @property
    def fleet(self) -> FleetRow:
        row: FleetRow = self.vault.rows([fleet_key(DIGEST)])[fleet_key(DIGEST)]
        return row

    def count(self, command: LearnFromFleet) -> Answer | Exception:
        [answer] = self.vault.apply([own(command)], time.time()).answers
        return answer

    def tick(self) -> None:
        while command := self.reader.next(self.counted):
            assert isinstance(self.count(command), Answer)


def test_each_device_counts_once_however_many_jobs_it_has():
    cluster = Cluster()
    cluster.job("one", 1)
    cluster.job("one", 1, job=2)
    cluster.job("two", 2)
    cluster.tick()
    assert (cluster.fleet.experience.devices, cluster.fleet.experience.reports) == (2, 2)
    [(student, _)] = cluster.fleet.experience.students
    assert student == STUDENT
    cluster.tick()
    assert cluster.fleet.experience.reports == 2


@pytest.mark.parametrize("restarts", [False, True])
def test_no_restart_loses_or_repeats_a_report(restarts):
    cluster = Cluster()
    for number in range(6):
        cluster.job("one" if number % 2 else "two", number)
        if restarts:
            cluster.restart()
        cluster.tick()
    assert cluster.fleet.experience.reports == 6


def test_a_reader_that_dies_between_reading_and_counting_reads_again():
    cluster = Cluster()
    cluster.job("one", 1)
    lost = cluster.reader.next(cluster.counted)
    assert lost is not None
    cluster.restart()
    cluster.tick()
    assert cluster.fleet.experience.reports == 1
    assert isinstance(cluster.count(lost), StaleAttempt)  # it comes late, and is not counted again
    assert cluster.fleet.experience.reports == 1


def test_pages_without_a_report_are_not_read_twice():
    cluster = Cluster()
    assert cluster.reader.next({}) is None
    asked: list[int] = []
    plain = cluster.reader._read
    cluster.reader._read = lambda at: asked.append(min(at.values())) or plain(at)
    assert cluster.reader.next({}) is None
    assert min(asked) > 0


def test_an_epoch_goes_by_the_feed_to_every_shard_and_into_its_plans():
    cluster = Cluster()
    for number in range(NEWS):
        cluster.job("one", number)
    cluster.tick()
    prior = cluster.fleet.prior
    assert prior is not None
    assert (prior.epoch, prior.devices) == (1, NEWS)
    events = [
        vault.EVENTS.decode(each.data) for each in cluster.vault._journal.events_after(0, 100)
    ]
    records = [record for record in map(fed, events) if record is not None]
    assert records == [AnnouncePrior(prior)]
    shard = cluster.shards["two"]
    shard.desk.take_up([(7, records[0]), (7, records[0])], time.time())
    cluster.job("two", 99)
    read = order(shard.store, Client.numbered(99).job_id(1))
    assert read.prior == prior
    assert shard.desk.cursor() == 7
