"""What the planner and the chunk server are told of a job: everything they read, and nothing else.

The brief is a value: the same brief gives the same plan, on every attempt and on every machine.
"""

import hashlib
from collections.abc import Iterable, Mapping

from stillhouse.chunks import made
from stillhouse.entities import (
    CentralModel,
    DistillationMetric,
    EdgeModelProfile,
    Entity,
    FamilyTable,
    KnowledgeChunk,
    Plan,
    WeightsRecipe,
)
from stillhouse.fleet import FleetPrior
from stillhouse.jobs import Job
from stillhouse.planner import PlanInput
from stillhouse.rounds import acknowledged
from stillhouse.rows import DeliveryRow, DistillationJobRow, PrincipalRow, calibration_of
from stillhouse.schedule import MAX_ROUNDS


class CompressOrder(Entity):
    """One round's delivery for one client, as the chunk server makes it."""

    job_id: str
    node: str
    attempt: int
    client_id: str
    receive_key: str  # X25519, hexadecimal
    profile: EdgeModelProfile
    model: CentralModel
    plan: Plan
    held: tuple[KnowledgeChunk, ...]
    version: int  # of the manifest
    previous_manifest: str | None


def plan_input(
    job: DistillationJobRow,
    owner: PrincipalRow,
    held: tuple[KnowledgeChunk, ...],
    table: FamilyTable,
    round: int,
    fleet: FleetPrior | None = None,
    held_before: tuple[KnowledgeChunk, ...] = (),
) -> PlanInput:
    """What `plan` (of the next round) and `judge` (of this one) read of a job and its device."""
    model = _model(job)
    students = {row.student for row in table.rows}
    windows = model.transfer_input_count if model.transfer_inputs in owner.holdings else 0
    return PlanInput(
        spec=job.profile.spec,
        table=table,
        fleet=fleet,
        probes=job.probes,
        reports=job.metrics,
        inherited=tuple(report for report in job.inherited if report.student in students),
        held=tuple(chunk.recipe for chunk in held),
        held_before=weights_of(held_before),
        public_windows=windows,
        round=round,
        next_action=job.judgement.next_action if job.judgement else None,
        max_rounds=MAX_ROUNDS,
        seed=seed_of(job.id),
    )


def dry_run_input(
    profile: EdgeModelProfile,
    model: CentralModel,
    owner: PrincipalRow,
    held: tuple[KnowledgeChunk, ...],
    table: FamilyTable,
    fleet: FleetPrior | None,
    held_before: tuple[KnowledgeChunk, ...] = (),
) -> PlanInput:
    """What the first plan of a job would read, if its client submitted it now."""
    windows = model.transfer_input_count if model.transfer_inputs in owner.holdings else 0
    return PlanInput(
        spec=profile.spec,
        table=table,
        fleet=fleet,
        probes=owner.calibrations.get(calibration_of(profile.spec, model), ()),
        held=tuple(chunk.recipe for chunk in held),
        held_before=weights_of(held_before),
        public_windows=windows,
        max_rounds=MAX_ROUNDS,
    )


def counts_for_the_fleet(
    job: DistillationJobRow, owner: PrincipalRow, report: DistillationMetric
) -> bool:
    """Whether a report is the first of its student by its device: a device counts once, with the
    first job of a family that brought it anything."""
    first = family_deliveries(job, owner)[:1]
    same = (each for each in job.metrics if each.student == report.student)
    return job.deliveries[:1] == first and next(same, None) == report


def compress_order(
    job: DistillationJobRow,
    owner: PrincipalRow,
    held: tuple[KnowledgeChunk, ...],
    node: Job,
    previous_manifest: str | None,
) -> CompressOrder:
    """What the chunk server needs for the delivery of the job's latest plan."""
    return CompressOrder(
        job_id=job.id,
        node=node.id,
        attempt=node.attempt,
        client_id=job.client_id,
        receive_key=owner.keys[-1].receive,
        profile=job.profile,
        model=_model(job),
        plan=job.plans[-1],
        held=held,
        version=owner.manifest_versions.get(job.profile.id, 0) + 1,
        previous_manifest=previous_manifest,
    )


def family_deliveries(job: DistillationJobRow, owner: PrincipalRow) -> tuple[str, ...]:
    """Ids of all that was ever delivered to the client of this job's family, in order."""
    return owner.deliveries.get(_model(job).family_digest, ())


def earlier_deliveries(job: DistillationJobRow, owner: PrincipalRow) -> tuple[str, ...]:
    """The same of the family that the job's is an update of: what deltas can begin from."""
    return owner.deliveries.get(_model(job).updates or "", ())


def held_chunks(
    deliveries: Iterable[DeliveryRow], jobs: Mapping[str, DistillationJobRow]
) -> tuple[KnowledgeChunk, ...]:
    """What the device holds of these deliveries: the chunks that it acknowledged, or that the
    deltas among them made.

    `jobs` are those that the deliveries belong to, by id.
    """
    return tuple(
        made(chunk)
        for delivery in deliveries
        for chunk in delivery.chunks[: acknowledged(jobs[delivery.job_id].graph, delivery.round)]
    )


def weights_of(chunks: Iterable[KnowledgeChunk]) -> tuple[WeightsRecipe, ...]:
    """The recipes of those chunks that are weights."""
    recipes = (chunk.recipe for chunk in chunks)
    return tuple(recipe for recipe in recipes if isinstance(recipe, WeightsRecipe))


def seed_of(job_id: str) -> int:
    """A seed that depends on the job, never on the attempt."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big")


def _model(job: DistillationJobRow) -> CentralModel:
    assert job.model is not None  # noqa: S101  plans come after the model
    return job.model
