"""What each event makes of a shard's rows, and of its index tables. Replay runs this alone.

`evolve` never refuses: an event has happened. It returns the rows that changed (None deletes one).
`index` notes which entries of the index tables begin and end with it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stillhouse import jobs
from stillhouse.decisions import Deadline, Effect, Index, Ready
from stillhouse.entities import JobState
from stillhouse.events import (
    AliasSet,
    Calibrated,
    CursorMoved,
    DeliveryOpened,
    Enrolled,
    EnrolmentOpened,
    JobClosed,
    JobFollowed,
    JobMoved,
    JobReopened,
    JobsAdded,
    JobSubmitted,
    Judged,
    KeysAdded,
    KeysRevoked,
    LetterDied,
    MetricKept,
    MetricReported,
    ModelAnnounced,
    ModelResolved,
    PlanMade,
    PriorPublished,
    ProfileDeleted,
    ProfileStored,
    StudentInstalled,
)
from stillhouse.jobs import ON_CLUSTER, ON_DEVICE, OVER, Move, State
from stillhouse.listing import Listing
from stillhouse.rows import (
    CURSOR,
    CatalogueRow,
    CursorRow,
    DeadLetterRow,
    DistillationJobRow,
    PrincipalRow,
    PriorRow,
    ProfileRow,
    Rows,
    catalogue_key,
    changed,
    find,
    get,
    prior_key,
)
from stillhouse.schedule import TURN

Changes = Mapping[str, Any]
KEPT_METRICS = 100  # of one job after its verdict: older ones are in its story alone


def evolve(rows: Rows, event: Any) -> Changes:
    """The rows that `event` changes, by key."""
    changes: Changes = APPLY[type(event)](rows, event)
    return changes


def evolve_moves(rows: Rows, events: Sequence[JobMoved]) -> Changes:
    """What the moves of one job change together: its row is copied once."""
    job = get(rows, events[0].job_id, DistillationJobRow)
    graph = dict(job.graph)
    for event in events:
        graph[event.node] = jobs.moved(graph, *event[1:])
    return {job.id: changed(job, graph=graph)}


def _enrolment_opened(_: Rows, event: EnrolmentOpened) -> Changes:
    return {event.enrolment.id: event.enrolment}


def _enrolled(rows: Rows, event: Enrolled) -> Changes:
    enrolment = rows[event.enrolment_id]
    return {
        event.enrolment_id: changed(enrolment, confirmed=True),
        event.principal_id: event.principal,
    }


def _keys_added(rows: Rows, event: KeysAdded) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    keys = (*owner.keys, event.keys)
    return {owner.id: changed(owner, keys=keys, keys_given=event.keys.number)}


def _keys_revoked(rows: Rows, event: KeysRevoked) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    left = tuple(pair for pair in owner.keys if pair.number != event.number)
    return {owner.id: changed(owner, keys=left)}


def _profile_stored(rows: Rows, event: ProfileStored) -> Changes:
    profile = event.profile
    owner = get(rows, profile.client_id, PrincipalRow)
    old = find(rows, profile.id, ProfileRow)
    if old is not None:
        return {profile.id: changed(old, profile=profile)}
    return {
        profile.id: ProfileRow(profile),
        owner.id: changed(owner, profiles=(*owner.profiles, profile.id)),
    }


def _profile_deleted(rows: Rows, event: ProfileDeleted) -> Changes:
    owner = get(rows, event.client_id, PrincipalRow)
    left = tuple(id for id in owner.profiles if id != event.profile_id)
    return {event.profile_id: None, owner.id: changed(owner, profiles=left)}


def _submitted(rows: Rows, event: JobSubmitted) -> Changes:
    return {
        event.job_id: DistillationJobRow(
            event.job_id,
            event.client_id,
            event.asked,
            event.profile,
            event.at,
            event.deadline,
            event.priority,
            inherited=event.inherited,
            follows=event.follows,
        ),
        **_opened(rows, event.client_id, event.profile.id),
    }


def _opened(rows: Rows, client_id: str, profile_id: str, jobs: int = 1) -> Changes:
    """Client and profile, with so many more open jobs."""
    owner = get(rows, client_id, PrincipalRow)
    profile = get(rows, profile_id, ProfileRow)
    return {
        owner.id: changed(owner, open_jobs=owner.open_jobs + jobs),
        profile_id: changed(profile, open_jobs=profile.open_jobs + jobs),
    }


def _job(rows: Rows, id: str, **changes: Any) -> Changes:
    return {id: changed(get(rows, id, DistillationJobRow), **changes)}


def _resolved(rows: Rows, event: ModelResolved) -> Changes:
    return _job(rows, event.job_id, model=event.model, state=JobState.RUNNING)


def _jobs_added(rows: Rows, event: JobsAdded) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    return {job.id: changed(job, graph=jobs.add(job.graph, event.jobs))}


def _job_moved(rows: Rows, event: JobMoved) -> Changes:
    return evolve_moves(rows, (event,))


def _calibrated(rows: Rows, event: Calibrated) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    owner = get(rows, job.client_id, PrincipalRow)
    known = {**owner.calibrations, event.calibration: event.probes}
    return {
        job.id: changed(job, probes=event.probes),
        owner.id: changed(owner, calibrations=known),
    }


def _plan_made(rows: Rows, event: PlanMade) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    return {job.id: changed(job, plans=(*job.plans, event.plan))}


def _delivery_opened(rows: Rows, event: DeliveryOpened) -> Changes:
    delivery = event.delivery
    job = get(rows, event.job_id, DistillationJobRow)
    owner = get(rows, delivery.client_id, PrincipalRow)
    versions = {**owner.manifest_versions, delivery.profile_id: delivery.version}
    family = delivery.family_digest
    deliveries = {**owner.deliveries, family: (*owner.deliveries.get(family, ()), delivery.id)}
    return {
        delivery.id: delivery,
        job.id: changed(job, deliveries=(*job.deliveries, delivery.id)),
        owner.id: changed(owner, manifest_versions=versions, deliveries=deliveries),
    }


def _installed(rows: Rows, event: StudentInstalled) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    reports = {**job.installations, event.delivery_id: event.report_digest}
    return {job.id: changed(job, installations=reports)}


def _metric(rows: Rows, event: MetricReported) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    return {job.id: changed(job, metrics=(*job.metrics, event.metric))}


def _metric_kept(rows: Rows, event: MetricKept) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    newest = (*job.kept_metrics, event.metric)[-KEPT_METRICS:]
    return {job.id: changed(job, kept_metrics=newest, kept=job.kept + 1)}


def _followed(rows: Rows, event: JobFollowed) -> Changes:
    profile = get(rows, event.profile_id, ProfileRow)
    return {
        **_job(rows, event.job_id, followed_by=event.by),
        event.profile_id: changed(profile, followed_at=event.at),
    }


def _judged(rows: Rows, event: Judged) -> Changes:
    return _job(rows, event.job_id, judgement=event.verdict)


def _closed(rows: Rows, event: JobClosed) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    less = _opened(rows, job.client_id, job.profile.id, -1)
    profile = less[job.profile.id]
    if event.state is JobState.ENDED:
        profile = changed(profile, last_ended=job.id)
    return {
        **less,
        job.profile.id: profile,
        job.id: changed(job, state=event.state, verdict=event.verdict, why=event.why),
    }


def _letter_died(_: Rows, event: LetterDied) -> Changes:
    return {event.letter.id: event.letter}


def _reopened(rows: Rows, event: JobReopened) -> Changes:
    job = get(rows, event.job_id, DistillationJobRow)
    letter = get(rows, event.letter_id, DeadLetterRow)
    return {
        **_opened(rows, job.client_id, job.profile.id),
        letter.id: changed(letter, replayed_at=event.at, replayed_by=event.by),
        job.id: changed(job, state=JobState.RUNNING, why="", deadline=event.deadline),
    }


def _announced(rows: Rows, event: ModelAnnounced) -> Changes:
    key = catalogue_key(event.name)
    row = find(rows, key, CatalogueRow) or CatalogueRow(event.name)
    others = tuple(model for model in row.versions if model.version != event.model.version)
    versions = sorted((*others, event.model), key=lambda model: model.version)
    return {key: changed(row, versions=tuple(versions))}


def _alias_set(rows: Rows, event: AliasSet) -> Changes:
    key = catalogue_key(event.name)
    row = find(rows, key, CatalogueRow) or CatalogueRow(event.name)
    return {key: changed(row, aliases={**row.aliases, event.alias: event.version})}


def _prior(_: Rows, event: PriorPublished) -> Changes:
    return {prior_key(event.family_digest): PriorRow(event.family_digest, event.prior)}


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
    StudentInstalled: _installed,
    MetricReported: _metric,
    MetricKept: _metric_kept,
    JobFollowed: _followed,
    Judged: _judged,
    JobClosed: _closed,
    LetterDied: _letter_died,
    JobReopened: _reopened,
    ModelAnnounced: _announced,
    AliasSet: _alias_set,
    PriorPublished: _prior,
    CursorMoved: _cursor,
}


def index(rows: Rows, event: Any, into: Index) -> None:
    """Note the entries that begin and end with `event`; `rows` are those after it."""
    match event:
        case JobMoved():
            _index_of_move(rows, event, into)
        case JobSubmitted():
            into.due[event.job_id, ""] = Deadline(event.deadline, event.job_id, "", 0)
            into.waiting[event.job_id] = event.asked.partition("@")[0]
            _list(rows, event.job_id, into)
        case ModelResolved():
            into.waiting[event.job_id] = None
            _list(rows, event.job_id, into)
        case JobClosed():
            into.due[event.job_id, ""] = None
            into.waiting[event.job_id] = None
            _list(rows, event.job_id, into)
        case LetterDied():
            into.dead[event.letter.id] = event.letter.at
        case JobReopened():
            into.dead[event.letter_id] = None
            into.due[event.job_id, ""] = Deadline(event.deadline, event.job_id, "", 0)
            _list(rows, event.job_id, into)


def _index_of_move(rows: Rows, event: JobMoved, into: Index) -> None:
    row: DistillationJobRow = rows[event.job_id]
    job = row.graph[event.node]
    place = (event.job_id, event.node)
    if job.state in OVER and job.kind in ON_DEVICE:
        into.due[place] = None
    elif job.state in OVER:
        into.over(place)
    elif event.until is not None:
        if event.move is Move.START:
            into.outbox[place] = Effect(*place, job.kind, job.attempt)
            into.ready[place] = None
        elif event.move is Move.RETRY:
            into.outbox[place] = None
        into.due[place] = Deadline(event.until, *place, job.attempt)
    elif job.state is State.READY and job.kind in ON_CLUSTER:
        into.over(place)
        into.ready[place] = Ready(TURN[row.priority], row.client_id, *place, job.attempt + 1)


def _list(rows: Rows, id: str, into: Index) -> None:
    job = get(rows, id, DistillationJobRow)
    into.listed[id] = Listing(
        job_id=id,
        submitted_at=job.submitted_at,
        client_id=job.client_id,
        edge_model_profile_id=job.profile.id,
        central_model=job.asked.partition("@")[0],
        state=job.state,
        verdict=job.verdict.kind if job.verdict else None,
    )
