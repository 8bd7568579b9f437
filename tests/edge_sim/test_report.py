"""The report keeps its word only if each verdict is as written beforehand and little was sent."""

import io

import pytest
from rich.console import Console

from edge_sim.baselines import Baseline
from edge_sim.report import JobReport, Report, baseline_table, closing_lines, table
from stillhouse.entities import ProfileSpec

WHOLE = 600_000
MET = JobReport(
    client_id="cli-00000001-0000000000000001",
    edge_model_profile_id="prf-00000001-0000000000000001",
    profile=ProfileSpec(
        cpu_cores=1,
        memory_bytes=40_000,
        storage_bytes=16_000,
        latency_p95_ms=9,
        max_accuracy_drop=0.03,
    ),
    device="watch",
    person=0,
    offer_of=None,
    submitted_before_model=True,
    feasible=True,
    infeasible_by=None,
    verdict="MET",
    binding_constraint=None,
    rounds=1,
    student="w0.25 d1-1 int4",
    registered_accuracy=0.93,
    max_accuracy_drop=0.03,
    student_accuracy=0.95,
    student_accuracy_se=0.02,
    student_test_accuracy=0.94,
    student_test_accuracy_se=0.02,
    oracle_central_accuracy=0.92,
    latency_p95_ms=4.5,
    latency_limit_ms=9,
    latency_source="calibrated",
    student_bytes=3_000,
    storage_limit_bytes=16_000,
    bytes_sent=3_400,
    wire_bytes=40_000,
    chunks_sent_again=0,
    transfer_input_bytes_preinstalled=150_000,
    link_seconds=0.3,
    why="within every limit",
    counter_offers=(),
)
TAG = MET.model_copy(
    update={
        "device": "tag",
        "feasible": False,
        "infeasible_by": "latency_p95_ms",
        "verdict": "INFEASIBLE",
        "binding_constraint": "latency_p95_ms",
        "student_test_accuracy": None,
        "bytes_sent": 0,
    }
)


def report(*jobs: JobReport) -> Report:
    return Report(wall_s=80, seed=0, reused=(), central_model_bytes=WHOLE, jobs=jobs)


def test_a_run_keeps_its_word_when_every_verdict_is_the_expected_one() -> None:
    assert report(MET, TAG).kept


@pytest.mark.parametrize(
    "job",
    [
        MET.model_copy(update={"verdict": "BEST_EFFORT"}),
        MET.model_copy(update={"verdict": "FAILED"}),
        TAG.model_copy(update={"verdict": "MET"}),
        TAG.model_copy(update={"binding_constraint": "storage_bytes"}),
    ],
)
def test_another_verdict_or_another_reason_breaks_it(job: JobReport) -> None:
    assert not report(MET, job).kept


def test_more_than_a_tenth_of_the_central_model_on_average_breaks_it() -> None:
    heavy = MET.model_copy(update={"bytes_sent": WHOLE // 5 + 1})
    assert report(heavy, TAG.model_copy(update={"bytes_sent": 0})).kept is False
    assert report(heavy, TAG, TAG).kept


def test_where_nothing_was_written_beforehand_any_verdict_is_as_expected_but_no_failure() -> None:
    unknown = {"feasible": None, "infeasible_by": None}
    for verdict, kept in (("BEST_EFFORT", True), ("INFEASIBLE", True), ("FAILED", False)):
        assert report(MET.model_copy(update={**unknown, "verdict": verdict})).kept is kept


def test_a_met_that_does_not_hold_on_the_test_windows_is_named() -> None:
    lucky = MET.model_copy(update={"device": "band", "student_test_accuracy": 0.89})
    first, second, *_ = closing_lines(report(MET, lucky))
    assert first == "MET that do not hold on the test windows: band"
    assert "mean -0.5 points, worst -3.0" in second


def test_the_table_shows_each_job_with_its_limits_and_share_of_the_central_model() -> None:
    console = Console(width=190, file=io.StringIO())
    console.print(table(report(MET, TAG)))
    shown = console.file.getvalue()
    for words in ("watch", "0.950 +- 0.020", "0.900", "4.5 / 9", "3.4 kB (0.6%)", "latency_p95_ms"):
        assert words in shown


def test_baselines_stand_beside_the_product_and_what_does_not_fit_in_brackets() -> None:
    small = Baseline(
        name="scratch",
        student="w0.25 d1-1 int4",
        accuracy=0.81,
        accuracy_se=0.1,
        storage_bytes=3_000,
        memory_bytes=10_000,
    )
    large = small.model_copy(update={"name": "quantise_only", "storage_bytes": 86_000})
    slow = small.model_copy(update={"name": "random_fitting", "latency_p95_ms": 9.1})
    assert [each.fits(MET.profile) for each in (small, large, slow)] == [True, False, False]
    job = MET.model_copy(update={"baselines": (small, large, slow)})
    console = Console(width=190, file=io.StringIO())
    console.print(baseline_table(report(job, TAG)))
    shown = console.file.getvalue()
    for words in ("quantise only", " 0.810 ", "(0.810)", "(0.920)"):
        assert words in shown
    assert "tag" not in shown
