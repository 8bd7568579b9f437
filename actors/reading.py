"""What is read of a shard's rows for an effect or for a device: a few rows that belong together."""

from dataclasses import dataclass
from typing import NamedTuple

from cluster.journal.contract import Journal
from cluster.store import Store
from stillhouse.brief import family_deliveries, held_chunks
from stillhouse.entities import KnowledgeChunk
from stillhouse.rows import DeliveryRow, DistillationJobRow, PrincipalRow, find, get

WORK = 16  # running jobs of one client that its device is told of at once


class Order(NamedTuple):
    """What an effect reads."""

    job: DistillationJobRow
    owner: PrincipalRow
    held: tuple[KnowledgeChunk, ...]
    previous_manifest: str | None  # its digest


@dataclass(frozen=True, slots=True)
class OpenJob:
    """What a device's work on one job is made of."""

    job: DistillationJobRow
    delivery: DeliveryRow | None  # the latest
    held: tuple[KnowledgeChunk, ...]


@dataclass(frozen=True, slots=True)
class ClientWork:
    """A client, and its oldest running jobs."""

    owner: PrincipalRow
    jobs: tuple[OpenJob, ...]


def order(store: Store, job_id: str) -> Order:
    """NotFound for a job that there is not."""
    job = get(store.rows([job_id]), job_id, DistillationJobRow)
    owner = get(store.rows([job.client_id]), job.client_id, PrincipalRow)
    last = latest(store, job)
    return Order(job, owner, held(store, job, owner), last.envelope_digest if last else None)


def client_work(store: Store, journal: Journal, client_id: str) -> ClientWork | None:
    """None for a client that there is not."""
    owner = find(store.rows([client_id]), client_id, PrincipalRow)
    if owner is None:
        return None
    jobs = store.rows(journal.running_jobs(client_id, WORK)).values()
    return ClientWork(
        owner, tuple(OpenJob(job, latest(store, job), held(store, job, owner)) for job in jobs)
    )


def latest(store: Store, job: DistillationJobRow) -> DeliveryRow | None:
    """The job's latest delivery."""
    rows = store.rows(job.deliveries[-1:])
    return next(iter(rows.values()), None)


def held(store: Store, job: DistillationJobRow, owner: PrincipalRow) -> tuple[KnowledgeChunk, ...]:
    """Chunks of the job's family that its device acknowledged, in this job or an earlier one."""
    if job.model is None:
        return ()
    deliveries = store.rows(family_deliveries(job, owner))
    jobs = store.rows({row.job_id for row in deliveries.values()})
    return held_chunks(deliveries.values(), jobs)
