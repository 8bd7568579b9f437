"""What a run says at its end: a row a job, as a table and as JSON, and if it kept its word."""

from collections.abc import Sequence

from rich.table import Table

from edge_sim.baselines import Baseline
from edge_sim.chaos import Kill, Victim, told
from edge_sim.host import Standing, TestScore
from edge_sim.scenario import Device
from stillhouse.entities import Entity, ProfileSpec, VerdictKind
from stillhouse.wire.messages import JobStatus


class JobReport(Entity):
    """One job. `student_*` are the device's own; `student_test_*` and `oracle_*` no rule reads."""

    client_id: str
    edge_model_profile_id: str
    profile: ProfileSpec
    device: str
    person: int
    offer_of: str | None
    submitted_before_model: bool
    feasible: bool | None
    infeasible_by: str | None
    verdict: str
    binding_constraint: str | None
    rounds: int
    student: str | None
    registered_accuracy: float
    max_accuracy_drop: float
    student_accuracy: float | None
    student_accuracy_se: float | None
    student_test_accuracy: float | None
    student_test_accuracy_se: float | None
    oracle_central_accuracy: float
    latency_p95_ms: float | None
    latency_limit_ms: float
    latency_source: str | None
    student_bytes: int | None
    storage_limit_bytes: int
    bytes_sent: int
    wire_bytes: int
    chunks_sent_again: int
    transfer_input_bytes_preinstalled: int
    link_seconds: float
    why: str
    counter_offers: tuple[str, ...]
    baselines: tuple[Baseline, ...] = ()

    @property
    def as_expected(self) -> bool:
        """The verdict that the scenario wrote down beforehand; any, where it wrote none."""
        if self.feasible is None:
            return self.verdict in {kind.value for kind in VerdictKind} - {VerdictKind.ADJUST.value}
        if self.feasible:
            return self.verdict == VerdictKind.MET
        return (self.verdict, self.binding_constraint) == (
            VerdictKind.INFEASIBLE,
            self.infeasible_by,
        )

    @property
    def holds(self) -> bool | None:
        """Whether a MET is true on the test windows too."""
        if self.verdict != VerdictKind.MET or self.student_test_accuracy is None:
            return None
        return self.student_test_accuracy >= self.registered_accuracy - self.max_accuracy_drop


class Report(Entity):
    """A whole run; every number was measured in it."""

    wall_s: float
    seed: int
    reused: tuple[str, ...]
    central_model_bytes: int
    jobs: tuple[JobReport, ...]
    kills: tuple[Kill, ...] = ()
    missed: tuple[Victim, ...] = ()

    @property
    def kept(self) -> bool:
        """Every verdict as expected, at most a tenth of the central model sent on average, and at
        most one chunk again for each kill."""
        mean = sum(job.bytes_sent for job in self.jobs) / len(self.jobs)
        again = sum(job.chunks_sent_again for job in self.jobs)
        little = mean <= self.central_model_bytes / 10 and again <= len(self.kills)
        return little and all(job.as_expected for job in self.jobs)


def job_report(
    device: Device,
    standing: Standing,
    status: JobStatus,
    registered_accuracy: float,
    test: TestScore | None,
    oracle: float,
    preinstalled_bytes: int,
    baselines: tuple[Baseline, ...],
) -> JobReport:
    """Put together what the API, the device and the harness each know of a job."""
    metric = status.metrics[-1] if status.metrics else None
    verdict = status.verdict
    sent = status.transfers.bytes_acknowledged
    return JobReport(
        client_id=standing.client_id,
        edge_model_profile_id=standing.profile_id,
        profile=device.profile,
        device=device.name,
        person=device.person,
        offer_of=device.offer_of,
        infeasible_by=device.binding_constraint,
        submitted_before_model=device.submit == "before_model",
        feasible=device.feasible,
        verdict=verdict.kind if verdict else status.job.state,
        binding_constraint=verdict.binding_constraint if verdict else None,
        rounds=status.round,
        student=str(metric.student) if metric else None,
        registered_accuracy=registered_accuracy,
        max_accuracy_drop=device.profile.max_accuracy_drop,
        student_accuracy=metric.accuracy if metric else None,
        student_accuracy_se=metric.accuracy_se if metric else None,
        student_test_accuracy=test.accuracy if test else None,
        student_test_accuracy_se=test.accuracy_se if test else None,
        oracle_central_accuracy=oracle,
        latency_p95_ms=metric.latency_p95_ms if metric else None,
        latency_limit_ms=device.profile.latency_p95_ms,
        latency_source=metric.source if metric else None,
        student_bytes=metric.storage_bytes if metric else None,
        storage_limit_bytes=device.profile.storage_bytes,
        bytes_sent=sent,
        wire_bytes=standing.wire_bytes,
        chunks_sent_again=standing.chunks_sent_again,
        transfer_input_bytes_preinstalled=preinstalled_bytes,
        link_seconds=standing.wire_bytes / device.model.bandwidth_bytes_per_s,
        why=verdict.why if verdict else failure(status),
        counter_offers=tuple(
            f"{', '.join(f'{c} {value:g}' for c, value in offer.limits.items())} "
            f"for {offer.student} (P {offer.chance:.2f})"
            for offer in (verdict.counter_offers if verdict else ())
        ),
        baselines=baselines,
    )


def failure(status: JobStatus) -> str:
    """What stopped a job that ended without a verdict."""
    return "; ".join(f"{n.id}: {n.cause}" for n in status.graph if n.state == "FAILED")


def table(report: Report) -> Table:
    """The closing table."""
    whole = report.central_model_bytes
    shown = Table(title=f"Seed {report.seed}: central model of {whole / 1000:.0f} kB", expand=False)
    for column in ("device", "verdict", "rounds", "student", "accuracy (own)", "limit"):
        shown.add_column(column, no_wrap=True)
    for column in ("accuracy (test)", "oracle", "p95 ms (calibrated)", "sent", "with windows"):
        shown.add_column(column, justify="right", no_wrap=True)
    for job in report.jobs:
        floor = job.registered_accuracy - job.max_accuracy_drop
        shown.add_row(
            job.device,
            " ".join(filter(None, (job.verdict, job.binding_constraint))),
            str(job.rounds),
            job.student or "-",
            pair(job.student_accuracy, job.student_accuracy_se),
            f"{floor:.3f}",
            pair(job.student_test_accuracy, job.student_test_accuracy_se),
            f"{job.oracle_central_accuracy:.3f}",
            f"{job.latency_p95_ms:.1f} / {job.latency_limit_ms:g}" if job.latency_p95_ms else "-",
            share(job.bytes_sent, whole),
            share(job.bytes_sent + job.transfer_input_bytes_preinstalled, whole),
        )
    return shown


def baseline_table(report: Report) -> Table:
    """Test accuracy of what else could have been done; in brackets what the profile has no room
    or time for."""
    names = sorted({each.name for job in report.jobs for each in job.baselines})
    shown = Table(title="The same test windows otherwise", expand=False)
    for column in ("device", "student", "Stillhouse", "central model", *names):
        shown.add_column(column.replace("_", " "), justify="right")
    for job in report.jobs:
        if job.baselines:
            found = {each.name: each for each in job.baselines}
            cells = [worth(found[name], job) if name in found else "-" for name in names]
            ours = f"{job.student_test_accuracy:.3f}"
            central = f"({job.oracle_central_accuracy:.3f})"
            shown.add_row(job.device, job.student or "-", ours, central, *cells)
    return shown


def worth(baseline: Baseline, job: JobReport) -> str:
    value = f"{baseline.accuracy:.3f}"
    return value if baseline.fits(job.profile) else f"({value})"


def closing_lines(report: Report) -> Sequence[str]:
    """The MET that do not hold on the test windows, and the distance to the oracle."""
    broken = [job.device for job in report.jobs if job.holds is False]
    met = [job for job in report.jobs if job.verdict == VerdictKind.MET]
    gaps = [
        job.student_test_accuracy - job.oracle_central_accuracy
        for job in met
        if job.student_test_accuracy is not None
    ]
    lines = [f"MET that do not hold on the test windows: {', '.join(broken) or 'none'}"]
    if gaps:
        mean, worst = 100 * sum(gaps) / len(gaps), 100 * min(gaps)
        lines.append(
            f"against the central model on the same windows: mean {mean:+.1f} points, "
            f"worst {worst:+.1f}"
        )
    lines += [f"{job.device}: {job.why}" for job in report.jobs]
    lines += [
        f"{job.device}, counter-offer: {o}" for job in report.jobs for o in job.counter_offers
    ]
    if report.kills or report.missed:
        again = sum(job.chunks_sent_again for job in report.jobs)
        lines += told(report.kills, report.missed, again)
    reused = ", ".join(report.reused) or "nothing"
    return [*lines, f"reused from earlier runs: {reused}; wall time {report.wall_s:.0f} s"]


def pair(value: float | None, error: float | None) -> str:
    return "-" if value is None or error is None else f"{value:.3f} +- {error:.3f}"


def share(part: int, whole: int) -> str:
    return f"{part / 1000:.1f} kB ({part / whole:.1%})"
