"""Steps 3 to 9 of the loop (SPEC): what each submission and result decides, in their order.

Steps 1 and 2 are in `submission`, what comes after the verdict in `monitoring`. Which jobs a result
creates is in `rounds`, what an event changes in `evolve`, and which moves follow by themselves in
`draft`.
"""

import hmac

from stillhouse import jobs, rounds
from stillhouse.authorization import owned
from stillhouse.commands import (
    Acknowledge,
    Compressed,
    Decided,
    Planned,
    ReportInstallation,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
)
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import (
    JobState,
    Principal,
    Verdict,
    VerdictKind,
    digest_of,
)
from stillhouse.errors import (
    AckMismatch,
    Conflict,
    Gone,
    IllegalMove,
    Invalid,
    StaleAttempt,
    TransferClosed,
)
from stillhouse.events import (
    Calibrated,
    DeliveryOpened,
    Judged,
    MetricReported,
    PlanMade,
    StudentInstalled,
)
from stillhouse.guards import current, over, own_job, running
from stillhouse.jobs import Move, State
from stillhouse.monitoring import MetricReceipt, keep
from stillhouse.rows import (
    DeliveryRow,
    PrincipalRow,
    calibration_of,
    get,
)

PROBE = "probe"

# --- 3: the plan


def report_probes(draft: Draft, who: Principal, command: ReportProbes) -> Answer:
    job = own_job(draft, who, command.job_id)
    current(job, PROBE, command.attempt)
    assert job.model is not None  # noqa: S101  a probe comes after the model
    draft.emit(Calibrated(job.id, calibration_of(job.profile.spec, job.model), command.probes))
    draft.move(job.id, PROBE, Move.SUCCEED, f"{len(command.probes)} networks measured")
    return Answer(204)


def planned(draft: Draft, _: Principal, command: Planned) -> Answer:
    job = running(draft, command)
    outcome = command.outcome
    if isinstance(outcome, Verdict):
        draft.move(job.id, command.node, Move.SUCCEED, outcome.why)
        draft.close(job.id, JobState.ENDED, outcome.why, outcome)
        return Answer(204)
    draft.emit(PlanMade(job.id, outcome))
    draft.move(job.id, command.node, Move.SUCCEED, outcome.why)
    draft.add(job.id, rounds.after_plan(outcome))
    return Answer(204)


# --- 4 and 5: chunks, and their transfers


def compressed(draft: Draft, _: Principal, command: Compressed) -> Answer:
    job = running(draft, command)
    delivery = command.delivery
    owner = get(draft.rows, job.client_id, PrincipalRow)
    if delivery.version <= owner.manifest_versions.get(delivery.profile_id, 0):
        raise Conflict(f"manifest version {delivery.version} of {delivery.profile_id} exists")
    draft.emit(DeliveryOpened(job.id, delivery))
    draft.move(job.id, command.node, Move.SUCCEED, f"{len(delivery.chunks)} chunks sealed")
    new = rounds.after_manifest(delivery.round, len(delivery.chunks), delivery.train_after)
    draft.add(job.id, new)
    return Answer(204)


def acknowledge(draft: Draft, who: Principal, command: Acknowledge) -> Answer:
    """The ack that alone opens the next transfer; the same one again is a repeat, not an error."""
    delivery = get(draft.rows, command.delivery_id, DeliveryRow)
    owned(who, delivery.client_id, delivery.id)
    job = draft.job(delivery.job_id)
    transfer = rounds.transfer(job.graph, delivery.round, command.index)
    if transfer is None:
        raise Invalid(f"delivery {delivery.id} has {len(delivery.chunks)} chunks")
    if transfer.state is State.BLOCKED:
        raise TransferClosed(f"an earlier chunk comes before {command.index}")
    if not hmac.compare_digest(
        command.ack.encode(), delivery.expected_acks[command.index].encode()
    ):
        raise AckMismatch(f"the ack of chunk {command.index} does not prove that it was opened")
    if transfer.state is State.SUCCEEDED:
        return Answer(204)
    if over(draft, job.id):
        raise Gone(f"job {job.id} is over")
    draft.move(job.id, transfer.id, Move.SUCCEED, "acknowledged")
    return Answer(204)


def report_installation(draft: Draft, who: Principal, command: ReportInstallation) -> Answer:
    delivery = get(draft.rows, command.delivery_id, DeliveryRow)
    owned(who, delivery.client_id, delivery.id)
    named = (command.manifest_digest, command.version)
    if named != (delivery.envelope_digest, delivery.version):
        raise Conflict(f"delivery {delivery.id} is version {delivery.version} of another manifest")
    job = draft.job(delivery.job_id)
    acknowledged = rounds.acknowledged(job.graph, delivery.round)
    if acknowledged < len(delivery.chunks):
        raise Conflict(f"chunk {acknowledged} has not been acknowledged")
    if delivery.id not in job.installations:
        report = digest_of([*named, command.probe_answers])
        draft.emit(StudentInstalled(job.id, delivery.id, report))
    return Answer(204)


# --- 6 and 7: the device trains, and submits what it measured


def report_progress(draft: Draft, who: Principal, command: ReportProgress) -> Answer:
    """Progress renews the lease; training reports its end here."""
    owned(who, command.client_id, command.client_id)
    job = own_job(draft, who, command.job_id)
    node = current(job, command.node, command.attempt)
    if command.done and node.kind is jobs.Kind.TRAIN:
        draft.move(job.id, node.id, Move.SUCCEED, "trained")
    elif command.done:
        raise IllegalMove(f"{node.kind} ends with its own report, not with progress")
    else:
        draft.renew(job.id, node, f"{command.share:.0%}")
    return Answer(204)


def report_metrics(draft: Draft, who: Principal, command: ReportMetrics) -> Answer:
    job = own_job(draft, who, command.job_id)
    metric = command.metric
    if job.state is JobState.ENDED:
        return accepted(keep(draft, job, metric), 202)
    node = f"r{metric.round}.measure"
    if metric.round != job.round or node not in job.graph:
        raise StaleAttempt(f"job {job.id} is in round {job.round}, not {metric.round}")
    if metric.student != job.plans[-1].student:
        raise Invalid(f"round {job.round} is about the student {job.plans[-1].student}")
    if job.graph[node].state is not State.WAITING_CLIENT:
        raise IllegalMove(f"{node} is {job.graph[node].state}")
    draft.emit(MetricReported(job.id, metric))
    draft.move(job.id, node, Move.SUCCEED, f"accuracy {metric.accuracy:.3f}")
    return accepted(MetricReceipt(kept=False, why=f"it is judged in round {job.round}"), 202)


# --- 8 and 9: analysed, adjusted, repeated


def decided(draft: Draft, _: Principal, command: Decided) -> Answer:
    job = running(draft, command)
    verdict = command.verdict
    draft.emit(Judged(job.id, verdict))
    draft.move(job.id, command.node, Move.SUCCEED, verdict.why)
    if verdict.kind is VerdictKind.ADJUST:
        draft.add(job.id, rounds.next_round(job.round))
    else:
        draft.close(job.id, JobState.ENDED, verdict.why, verdict)
    return Answer(204)
