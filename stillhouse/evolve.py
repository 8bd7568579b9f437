"""What each event makes of a shard's rows, and of its index tables. Replay runs this alone.

`evolve` never refuses: an event has happened. It returns the rows that changed (None deletes one).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stillhouse import jobs
from stillhouse.decisions import Effect, Index
from stillhouse.entities import JobState
from stillhouse.events import (
    AliasSet,
    Calibrated,
    ChunkAcknowledged,
    CursorMoved,
    DeliveryOpened,
    Enrolled,
    EnrolmentOpened,
    JobClosed,
    JobFollowed,
    JobMoved,
    JobsAdded,
    JobSubmitted,
    Judged,
    KeysAdded,
    KeysRevoked,
    MetricKept,
    MetricReported,
    ModelAnnounced,
    ModelResolved,
    PlanMade,
    ProfileDeleted,
    ProfileStored,
    StudentInstalled,
)
from stillhouse.jobs import OVER, Kind, Move, State
from stillhouse.listing import Listing
from stillhouse.rows import (
    CURSOR,
    CatalogueRow,
    CursorRow,
    DeliveryRow,
    DistillationJobRow,
    HeldChunk,
    PrincipalRow,
    ProfileRow,
    Rows,
    catalogue_key,
    find,
    get,
)

Changes = Mapping[str, Any]
KEPT_METRICS = 100  # of one job after its verdict: older ones are in its story alone


def evolve(rows: Rows, event: Any) -> Changes:
    """The rows that `event` changes, by key."""
    changes: Changes = APPLY[type(event)](rows, event)
    return changes


def _enrolment_opened(_: Rows, event: EnrolmentOpened) -> Changes:
    return {event.enrolment.id: event.enrolment}


def _enrolled(rows: Rows, event: Enrolled) -> Changes:
    enrolment = rows[event.enrolment_id]
    return {
        event.enrolment_id: replace(enrolment, confirmed=True),
        event.principal_id: event.principal,
    }


def _keys_added(rows: Rows, event: KeysAdded) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    keys = (*owner.keys, event.keys)
    return {owner.id: replace(owner, keys=keys, keys_given=event.keys.number)}


def _keys_revoked(rows: Rows, event: KeysRevoked) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    left = tuple(pair for pair in owner.keys if pair.number != event.number)
    return {owner.id: replace(owner, keys=left)}


def _profile_stored(rows: Rows, event: ProfileStored) -> Changes:
    profile = event.profile
    owner = get(rows, profile.client_id, PrincipalRow)
    old = find(rows, profile.id, ProfileRow)
    if old is not None:
        return {profile.id: replace(old, profile=profile)}
    return {
        profile.id: ProfileRow(profile),
        owner.id: replace(owner, profiles=(*owner.profiles, profile.id)),
    }


def _profile_deleted(rows: Rows, event: ProfileDeleted) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    left = tuple(id for id in owner.profiles if id != event.profile_id)
    return {event.profile_id: None, owner.id: replace(owner, profiles=left)}


def _submitted(rows: Rows, event: JobSubmitted) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    profile = get(rows, event.profile.id, ProfileRow)
    return {
        event.job_id: DistillationJobRow(
            event.job_id,
            event.client_id,
            event.asked,
            event.profile,
            event.at,
            event.deadline,
            inherited=event.inherited,
            follows=event.follows,
        ),
        owner.id: replace(owner, jobs=(*owner.jobs, event.job_id)),
        profile.profile.id: replace(profile, open_jobs=(*profile.open_jobs, event.job_id)),
    }


def _job(rows: Rows, id: str, **changes: Any) -> Changes:
    return {id: replace(get(rows, id, DistillationJobRow), **changes)}


def _resolved(rows: Rows, event: ModelResolved) -> Changes:
    return _job(rows, event.job_id, model=event.model, state=JobState.RUNNING)


def _jobs_added(rows: Rows, event: JobsAdded) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    return {job.id: replace(job, graph=jobs.add(job.graph, event.jobs))}


def _job_moved(rows: Rows, event: JobMoved) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    graph = jobs.move(job.graph, event.node, event.move, event.cause, event.at)
    return {job.id: replace(job, graph=graph)}


def _calibrated(rows: Rows, event: Calibrated) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    owner = get(rows, job.client_id, PrincipalRow)
    known = {**owner.calibrations, event.calibration: event.probes}
    return {
        job.id: replace(job, probes=event.probes),
        owner.id: replace(owner, calibrations=known),
    }


def _plan_made(rows: Rows, event: PlanMade) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    return {job.id: replace(job, plans=(*job.plans, event.plan))}


def _delivery_opened(rows: Rows, event: DeliveryOpened) -> Changes:
    delivery = event.delivery
    job = get(rows, event.job_id, DistillationJobRow)
    owner = get(rows, delivery.client_id, PrincipalRow)
    versions = {**owner.manifest_versions, delivery.profile_id: delivery.version}
    return {
        delivery.id: delivery,
        job.id: replace(job, deliveries=(*job.deliveries, delivery.id)),
        owner.id: replace(owner, manifest_versions=versions),
    }


def _acknowledged(rows: Rows, event: ChunkAcknowledged) -> Changes:
    delivery = get(rows, event.delivery_id, DeliveryRow)
    owner = get(rows, delivery.client_id, PrincipalRow)
    held = HeldChunk(delivery.family_digest, delivery.chunks[event.index])
    return {
        delivery.id: replace(delivery, acknowledged=event.index + 1),
        owner.id: replace(owner, held=(*owner.held, held)),
    }


def _installed(rows: Rows, event: StudentInstalled) -> Changes:
    delivery = get(rows, event.delivery_id, DeliveryRow)
    return {delivery.id: replace(delivery, installation=event.report_digest)}


def _metric(rows: Rows, event: MetricReported) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    return {job.id: replace(job, metrics=(*job.metrics, event.metric))}


def _metric_kept(rows: Rows, event: MetricKept) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    newest = (*job.kept_metrics, event.metric)[-KEPT_METRICS:]
    return {job.id: replace(job, kept_metrics=newest, kept=job.kept + 1)}


def _followed(rows: Rows, event: JobFollowed) -> Changes:
    profile = get(rows, event.profile_id, ProfileRow)
    return {
        **_job(rows, event.job_id, followed_by=event.by),
        event.profile_id: replace(profile, followed_at=event.at),
    }


def _judged(rows: Rows, event: Judged) -> Changes:
    return _job(rows, event.job_id, judgement=event.verdict)


def _closed(rows: Rows, event: JobClosed) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    profile = get(rows, job.profile.id, ProfileRow)
    left = tuple(id for id in profile.open_jobs if id != job.id)
    last = job.id if event.state is JobState.ENDED else profile.last_ended
    return {
        job.id: replace(job, state=event.state, verdict=event.verdict, why=event.why),
        profile.profile.id: replace(profile, open_jobs=left, last_ended=last),
    }


def _announced(rows: Rows, event: ModelAnnounced) -> Changes:
    key = catalogue_key(event.name)
    row = find(rows, key, CatalogueRow) or CatalogueRow(event.name)
    others = tuple(model for model in row.versions if model.version != event.model.version)
    versions = sorted((*others, event.model), key=lambda model: model.version)
    return {key: replace(row, versions=tuple(versions))}


def _alias_set(rows: Rows, event: AliasSet) -> Changes:
    key = catalogue_key(event.name)
    row = find(rows, key, CatalogueRow) or CatalogueRow(event.name)
    return {key: replace(row, aliases={**row.aliases, event.alias: event.version})}


def _cursor(_: Rows, event: CursorMoved) -> Changes:
    return {CURSOR: CursorRow(event.sequence)}


APPLY: Mapping[type, Callable[[Rows, Any], Changes]] = {
    EnrolmentOpened: _enrolment_opened,
    Enrolled: _enrolled,
    KeysAdded: _keys_added,
    KeysRevoked: _keys_revoked,
    ProfileStored: _profile_stored,
    ProfileDeleted: _profile_deleted,
    JobSubmitted: _submitted,
    ModelResolved: _resolved,
    JobsAdded: _jobs_added,
    JobMoved: _job_moved,
    Calibrated: _calibrated,
    PlanMade: _plan_made,
    DeliveryOpened: _delivery_opened,
    ChunkAcknowledged: _acknowledged,
    StudentInstalled: _installed,
    MetricReported: _metric,
    MetricKept: _metric_kept,
    JobFollowed: _followed,
    Judged: _judged,
    JobClosed: _closed,
    ModelAnnounced: _announced,
    AliasSet: _alias_set,
    CursorMoved: _cursor,
}


def index(rows: Rows, event: Any) -> Index:
    """The index entries that begin and end with `event`; `rows` are those after it."""
    match event:
        case JobSubmitted():
            name = event.asked.partition("@")[0]
            return Index(
                due=((event.deadline, event.job_id, "", 0),),
                waiting=((name, event.job_id),),
                listed=_listed(rows, event.job_id),
            )
        case ModelResolved():
            return Index(arrived=(event.job_id,), listed=_listed(rows, event.job_id))
        case JobClosed():
            return Index(
                met=((event.job_id, ""),),
                arrived=(event.job_id,),
                listed=_listed(rows, event.job_id),
            )
        case JobMoved():
            return _index_of_move(rows, event)
        case _:
            return Index()


def _listed(rows: Rows, id: str) -> tuple[Listing]:
    job = get(rows, id, DistillationJobRow)
    return (
        Listing(
            job_id=id,
            submitted_at=job.submitted_at,
            client_id=job.client_id,
            edge_model_profile_id=job.profile.id,
            central_model=job.asked.partition("@")[0],
            state=job.state,
            verdict=job.verdict.kind if job.verdict else None,
        ),
    )


def _index_of_move(rows: Rows, event: JobMoved) -> Index:
    job = get(rows, event.job_id, DistillationJobRow).graph[event.node]
    place = (event.job_id, event.node)
    if event.lease_until is not None:
        due = ((event.lease_until, *place, job.attempt),)
        if event.move is Move.START:
            return Index(outbox=(Effect(*place, job.kind, job.attempt),), due=due)
        return Index(due=due)
    if job.state in OVER or job.state is State.READY:
        return Index(done=(place,), met=(place,)) if job.kind is not Kind.AWAIT_MODEL else Index()
    return Index()
