"""After the verdict: metrics are kept, and one that breaks the profile opens a job, once a day."""

from typing import Any

import pytest
from fakes import LocalShard
from simulated import FAMILY
from story import ALICE, enrolled

from benchmarks.makers import PROBES, SPEC, STUDENT, metric, model, plan
from stillhouse.brief import plan_input
from stillhouse.commands import (
    Announce,
    Arrive,
    Cancel,
    Decided,
    DeleteProfile,
    Planned,
    ReplaceProfile,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    Submit,
)
from stillhouse.decisions import Answer, Request
from stillhouse.entities import SYSTEM, Action, JobState, Principal, Verdict, VerdictKind
from stillhouse.evolve import KEPT_METRICS
from stillhouse.monitoring import MetricReceipt
from stillhouse.rows import DistillationJobRow, PrincipalRow
from stillhouse.schedule import FOLLOW_UP_S

PROFILE = f"prf-{ALICE.id[4:12]}-0000000000000001"
SLOW = metric(1).model_copy(update={"latency_p95_ms": 7.0})
WORSE = metric(1).model_copy(update={"accuracy": 0.6})


class House:
    """One shard with one client whose first job has ended MET."""

    def __init__(self, kind: VerdictKind = VerdictKind.MET) -> None:
        self.shard, self.now, self.count = LocalShard(), 1000.0, 0
        self.store = self.shard.store
        for command in enrolled(ALICE):
            self.do(command)
        self.do(Announce("wrist", model=model()), SYSTEM)
        self.first = self.submit()
        self.do(ReportProbes(self.first, 1, PROBES))
        self.finish(self.first, kind)

    def do(self, command: Any, who: Principal = ALICE) -> Answer:
        self.count += 1
        request = Request(f"key-{self.count}", f"digest-{self.count}", who, command)
        answer = self.shard.do(request, self.now)
        assert isinstance(answer, Answer), answer
        return answer

    def submit(self, asked: str = "wrist") -> str:
        id = f"job-{ALICE.id[4:12]}-{self.count:016x}"
        self.do(Submit(id, ALICE.id, asked, PROFILE))
        return id

    def finish(self, job: str, kind: VerdictKind = VerdictKind.MET) -> None:
        self.do(Planned(job, "r1.plan", 1, plan(1, Action.TRAIN)), SYSTEM)
        self.do(ReportProgress(ALICE.id, job, "r1.train", 1, 1.0, True))
        self.do(ReportMetrics(job, metric(1)))
        verdict = Verdict(kind=kind, why="because", student=STUDENT)
        self.do(Decided(job, "r1.decide", 1, verdict), SYSTEM)

    def measure(self, late: Any, job: str = "") -> MetricReceipt:
        return MetricReceipt.model_validate(
            self.do(ReportMetrics(job or self.first, late)).document
        )

    def job(self, id: str) -> DistillationJobRow:
        row: DistillationJobRow = self.store.rows([id])[id]
        return row


@pytest.fixture
def house() -> House:
    return House()


def test_a_metric_within_the_profile_is_kept_and_opens_nothing(house: House) -> None:
    receipt = house.measure(metric(1))
    assert receipt == MetricReceipt(
        kept=True, why=f"{STUDENT} is within the profile, but for noise"
    )
    assert house.job(house.first).kept_metrics == (metric(1),)


@pytest.mark.parametrize(
    ("update", "why"),
    [
        ({"latency_p95_ms": 5.2}, None),  # 4 % above: noise
        ({"latency_p95_ms": 5.4}, "latency"),
        ({"accuracy": 0.84}, None),  # below .87, by less than its standard error of .037
        ({"accuracy": 0.82}, "accuracy"),
        ({"peak_memory_bytes": 100_001}, "memory"),
        ({"storage_bytes": 50_001, "latency_p95_ms": 9.0}, "storage and latency"),
    ],
)
def test_only_what_noise_does_not_explain_opens_a_job(
    house: House, update: dict[str, float], why: str | None
) -> None:
    receipt = house.measure(metric(1).model_copy(update=update))
    assert (receipt.opened_job is not None) == (why is not None)
    assert why is None or receipt.why == f"{STUDENT} is no longer within its limits of {why}"


def test_the_new_job_is_linked_both_ways_and_begins_with_the_known_calibration(
    house: House,
) -> None:
    receipt = house.measure(SLOW)
    assert receipt.opened_job is not None
    old, new = house.job(house.first), house.job(receipt.opened_job)
    assert (old.followed_by, new.follows) == (new.id, old.id)
    assert (old.document().followed_by, new.document().follows) == (new.id, old.id)
    assert (new.state, new.probes, list(new.graph)) == (
        JobState.RUNNING, PROBES, ["await_model", "r1.plan"],
    )  # fmt: skip


def test_it_asks_for_the_same_reference_and_the_profile_as_it_is_now(house: House) -> None:
    house.do(Announce("wrist", model=model(version=2)), SYSTEM)
    house.do(ReplaceProfile(ALICE.id, PROFILE, SPEC.model_copy(update={"latency_p95_ms": 6}), 1))
    assert house.measure(metric(1).model_copy(update={"latency_p95_ms": 6.1})).opened_job is None
    opened = house.measure(SLOW).opened_job
    assert opened is not None
    new = house.job(opened)
    assert new.model is not None
    assert (new.asked, new.model.version, new.profile.revision) == ("wrist", 2, 2)


def test_what_the_student_costs_now_is_taken_over_where_threads_and_networks_are_the_same(
    house: House,
) -> None:
    opened = house.measure(SLOW).opened_job
    assert opened is not None
    assert house.job(opened).inherited == (SLOW,)
    other = House()
    more = SPEC.model_copy(update={"cpu_cores": 2})
    other.do(ReplaceProfile(ALICE.id, PROFILE, more, 1))
    opened = other.measure(SLOW).opened_job
    assert opened is not None
    assert other.job(opened).inherited == ()
    assert "probe" in other.job(opened).graph


def test_the_planner_reads_it_unless_the_new_family_has_no_such_student(house: House) -> None:
    opened = house.measure(SLOW).opened_job
    assert opened is not None
    owner: PrincipalRow = house.store.rows([ALICE.id])[ALICE.id]
    assert plan_input(house.job(opened), owner, (), FAMILY, 1).inherited == (SLOW,)
    rest = tuple(row for row in FAMILY.rows if row.student != STUDENT)
    without = FAMILY.model_copy(update={"rows": rest})
    assert plan_input(house.job(opened), owner, (), without, 1).inherited == ()


def test_at_most_one_job_a_day_is_opened_and_none_beside_an_open_one(house: House) -> None:
    opened = house.measure(WORSE).opened_job
    assert opened is not None
    assert "at work on this profile already" in house.measure(WORSE).why
    house.do(Cancel(opened))
    assert "less than a day" in house.measure(WORSE).why
    house.now += FOLLOW_UP_S
    again = house.measure(WORSE).opened_job
    assert again not in (None, opened)
    assert house.job(house.first).followed_by == again
    assert house.job(house.first).kept == 4


def test_the_verdict_in_force_alone_is_watched(house: House) -> None:
    second = house.submit()
    assert house.measure(WORSE).opened_job is None
    house.finish(second)
    assert second in house.measure(WORSE).why
    assert house.measure(WORSE, second).opened_job is not None


@pytest.mark.parametrize("kind", [VerdictKind.BEST_EFFORT, VerdictKind.INFEASIBLE])
def test_a_student_that_never_met_the_profile_cannot_break_it(kind: VerdictKind) -> None:
    assert House(kind).measure(WORSE).opened_job is None


def test_a_metric_of_another_student_opens_nothing(house: House) -> None:
    other = STUDENT.model_copy(update={"width": 0.25})
    assert house.measure(WORSE.model_copy(update={"student": other})).opened_job is None


def test_without_its_profile_a_metric_is_kept_and_that_is_all(house: House) -> None:
    house.do(DeleteProfile(ALICE.id, PROFILE, 1))
    assert house.measure(WORSE) == MetricReceipt(kept=True, why="the profile was deleted")
    assert house.job(house.first).kept == 1


def test_the_newest_metrics_stay(house: House) -> None:
    for number in range(KEPT_METRICS + 3):
        house.measure(metric(1).model_copy(update={"samples": 100 + number}))
    kept = house.job(house.first).kept_metrics
    assert [each.samples for each in kept] == list(range(103, 103 + KEPT_METRICS))


def test_a_metric_within_a_round_says_that_it_is_judged(house: House) -> None:
    job = house.submit()
    house.do(Arrive(job), SYSTEM)
    house.do(Planned(job, "r1.plan", 1, plan(1, Action.MEASURE)), SYSTEM)
    assert house.measure(metric(1), job) == MetricReceipt(kept=False, why="it is judged in round 1")
