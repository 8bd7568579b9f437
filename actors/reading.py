"""What is read of a shard's rows for an effect or for a device: a few rows that belong together."""

from dataclasses import dataclass
from typing import NamedTuple

from cluster.journal.contract import Journal
from cluster.store import Store
from stillhouse.brief import (
    counts_for_the_fleet,
    earlier_deliveries,
    family_deliveries,
    held_chunks,
)
from stillhouse.entities import DistillationMetric, KnowledgeChunk, ProbeResult
from stillhouse.events import EVENTS, MetricReported
from stillhouse.fleet import FleetPrior
from stillhouse.rows import (
    DeliveryRow,
    DistillationJobRow,
    PrincipalRow,
    PriorRow,
    find,
    get,
    prior_key,
)

FLEET_PAGE = 2_000  # events of a shard's journal that are looked through for reports at once
WORK = 16  # running jobs of one client that its device is told of at once


class Order(NamedTuple):
    """What an effect reads."""

    job: DistillationJobRow
    owner: PrincipalRow
    held: tuple[KnowledgeChunk, ...]
    previous_manifest: str | None  # its digest
    prior: FleetPrior | None = None  # the newest epoch
    held_before: tuple[KnowledgeChunk, ...] = ()  # of the family that the job's is an update of


class Told(NamedTuple):
    """A device's first report of a student, with what it is held against."""

    family_digest: str
    probes: tuple[ProbeResult, ...]
    report: DistillationMetric
    first: bool  # of the device


class FleetReports(NamedTuple):
    """Of one shard, up to a sequence of its journal."""

    sequence: int
    told: tuple[Told, ...]


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
    previous = last.envelope_digest if last else None
    held_before = acknowledged_of(store, earlier_deliveries(job, owner)) if job.model else ()
    now = held(store, job, owner)
    return Order(job, owner, now, previous, prior(store, job), held_before)


def prior(store: Store, job: DistillationJobRow) -> FleetPrior | None:
    """The newest epoch of what the fleet knows of the job's family."""
    if job.model is None:
        return None
    key = prior_key(job.model.family_digest)
    row = find(store.rows([key]), key, PriorRow)
    return row.prior if row else None


def fleet_reports(store: Store, journal: Journal, after: int) -> FleetReports:
    """What a shard's journal holds for the fleet behind `after`, a page of it."""
    page = journal.events_after(after, FLEET_PAGE)
    wanted = MetricReported.__name__.encode() + b" "  # most events are others: not decoded
    told = []
    for data in (event.data for event in page if event.data.startswith(wanted)):
        reported: MetricReported = EVENTS.decode(data)
        job = get(store.rows([reported.job_id]), reported.job_id, DistillationJobRow)
        owner = get(store.rows([job.client_id]), job.client_id, PrincipalRow)
        if job.model is not None and counts_for_the_fleet(job, owner, reported.metric):
            first = reported.metric == job.metrics[0]
            told.append(Told(job.model.family_digest, job.probes, reported.metric, first))
    return FleetReports(page[-1].sequence if page else after, tuple(told))


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
    return acknowledged_of(store, family_deliveries(job, owner)) if job.model else ()


def acknowledged_of(store: Store, ids: tuple[str, ...]) -> tuple[KnowledgeChunk, ...]:
    """What the device has of these deliveries."""
    deliveries = store.rows(ids)
    jobs = store.rows({row.job_id for row in deliveries.values()})
    return held_chunks(deliveries.values(), jobs)
