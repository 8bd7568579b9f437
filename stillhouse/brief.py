"""What the planner and the chunk server are told of a job: everything they read, and nothing else.

The brief is a value: the same brief gives the same plan, on every attempt and on every machine.
"""

import hashlib

from stillhouse.entities import (
    CentralModel,
    EdgeModelProfile,
    Entity,
    FamilyTable,
    KnowledgeChunk,
    Plan,
)
from stillhouse.jobs import Job
from stillhouse.planner import PlanInput
from stillhouse.rows import DistillationJobRow, PrincipalRow
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
    job: DistillationJobRow, owner: PrincipalRow, table: FamilyTable, round: int
) -> PlanInput:
    """What `plan` (of the next round) and `judge` (of this one) read of a job and its device."""
    model = _model(job)
    students = {row.student for row in table.rows}
    windows = model.transfer_input_count if model.transfer_inputs in owner.holdings else 0
    return PlanInput(
        spec=job.profile.spec,
        table=table,
        probes=job.probes,
        reports=job.metrics,
        inherited=tuple(report for report in job.inherited if report.student in students),
        held=tuple(chunk.recipe for chunk in held_chunks(job, owner)),
        public_windows=windows,
        round=round,
        next_action=job.judgement.next_action if job.judgement else None,
        max_rounds=MAX_ROUNDS,
        seed=seed_of(job.id),
    )


def compress_order(
    job: DistillationJobRow, owner: PrincipalRow, node: Job, previous_manifest: str | None
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
        held=held_chunks(job, owner),
        version=owner.manifest_versions.get(job.profile.id, 0) + 1,
        previous_manifest=previous_manifest,
    )


def held_chunks(job: DistillationJobRow, owner: PrincipalRow) -> tuple[KnowledgeChunk, ...]:
    """Chunks of this job's family that the device acknowledged, in this job or an earlier one."""
    family = _model(job).family_digest
    return tuple(held.chunk for held in owner.held if held.family_digest == family)


def seed_of(job_id: str) -> int:
    """A seed that depends on the job, never on the attempt."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big")


def _model(job: DistillationJobRow) -> CentralModel:
    assert job.model is not None  # noqa: S101  plans come after the model
    return job.model
