"""The vault's rules: an owner uploads a central model; it is measured, its family built, announced.

Only that a version is AVAILABLE goes to the shards, as a record of the feed. Owners and operators
enrol here, by the rules for clients.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stillhouse import evolve as shard
from stillhouse.authorization import authorize
from stillhouse.commands import ConfirmEnrolment, Enrol, LearnFromFleet
from stillhouse.decisions import Answer, Deadline, Decision, Effect, Index, Request, accepted
from stillhouse.draft import Draft
from stillhouse.enrolment import confirm, open_enrolment
from stillhouse.entities import Principal
from stillhouse.errors import Conflict, Invalid, NotFound, StaleAttempt
from stillhouse.events import (
    AliasSet,
    FleetRead,
    LessonsLearnt,
    ModelAnnounced,
    PriorPublished,
)
from stillhouse.fleet import Experience
from stillhouse.rows import Rows, find, get
from stillhouse.schedule import CLUSTER_LEASE_S, MAX_ATTEMPTS
from stillhouse.versions import (
    EVENTS,
    FILES,
    FLEET,
    MORE_FILES,
    ROWS,
    CompleteFile,
    Evaluated,
    FamilyBuilt,
    FileReceived,
    FleetCursorRow,
    FleetRow,
    NameRow,
    RegistrationFailed,
    SetAlias,
    StartUpload,
    TableRow,
    TableStored,
    UploadStarted,
    VersionMeasured,
    VersionMoved,
    VersionRow,
    VersionState,
    fleet_key,
    name_key,
    table_key,
    version_key,
)

EFFECTS = {VersionState.EVALUATING: "evaluate", VersionState.BUILDING: "build_family"}
encode = ROWS.encode
encode_event = EVENTS.encode
STREAMS = EVENTS.first_fields()


def decode(key: str, data: bytes) -> Any:  # noqa: ARG001  the class stands in the data
    return ROWS.decode(data)


def stream(event: Any) -> str:
    """The name or principal whose story the event belongs to."""
    return str(getattr(event, STREAMS[type(event)]))


def reads(request: Request) -> frozenset[str]:
    """Keys of the rows that the command surely needs."""
    command = request.command
    if hasattr(command, "enrolment_id"):
        return frozenset({command.enrolment_id})
    if isinstance(command, LearnFromFleet):
        return frozenset({FLEET, *map(fleet_key, command.lessons)})
    return frozenset({name_key(command.name)})


def step(rows: Rows, request: Request, now: float) -> Decision:
    """Decide on one command; a Refusal means that nothing changes."""
    command = request.command
    authorize(request.principal, type(command).__name__)
    draft = Draft(rows, now, evolve, index)
    answer = HANDLERS[type(command)](draft, request.principal, command)
    return draft.decision(answer)


# --- what each command decides ------------------------------------------------------------------


def start_upload(draft: Draft, who: Principal, command: StartUpload) -> Answer:
    if not FILES <= frozenset(command.spec.files) <= FILES | MORE_FILES:
        needed, more = (", ".join(sorted(files)) for files in (FILES, MORE_FILES))
        raise Invalid(f"a version consists of the files {needed}, and may have {more}")
    name = find(draft.rows, name_key(command.name), NameRow)
    if name is not None and name.owner_id != who.id:
        raise Conflict(f"the name {command.name} belongs to another owner")
    version = (name.versions if name else 0) + 1
    draft.emit(UploadStarted(command.name, version, who.id, command.spec))
    return accepted(_version(draft, command.name, version).document(), 201)


def complete_file(draft: Draft, who: Principal, command: CompleteFile) -> Answer:
    row = _version(draft, command.name, command.version)
    if row.owner_id != who.id:
        raise NotFound(f"no such version: {command.name}@{command.version}")
    if row.spec.files.get(command.file) != command.digest:
        raise Invalid(f"{command.file} is not the file whose digest the upload began with")
    if command.file in row.received:
        return accepted(row.document())
    draft.emit(FileReceived(row.name, row.version, command.file))
    if frozenset(_version(draft, row.name, row.version).received) == frozenset(row.spec.files):
        _begin(draft, row, VersionState.EVALUATING, "all files are there")
    return accepted(_version(draft, row.name, row.version).document())


def evaluated(draft: Draft, _: Principal, command: Evaluated) -> Answer:
    row = _under_way(draft, command, VersionState.EVALUATING)
    measured = command.measured
    draft.emit(VersionMeasured(row.name, row.version, measured))
    why = f"accuracy {measured.accuracy:.3f} (SE {measured.accuracy_se:.3f}) measured"
    _begin(draft, row, VersionState.BUILDING, why)
    return Answer(204)


def family_built(draft: Draft, _: Principal, command: FamilyBuilt) -> Answer:
    row = _under_way(draft, command, VersionState.BUILDING)
    origin = "built before, from the same files" if command.reused else "built"
    why = f"a family of {len(command.table.rows)} students, {origin}"
    draft.emit(TableStored(row.name, row.version, command.table, command.reused))
    draft.emit(VersionMoved(row.name, row.version, VersionState.AVAILABLE, why))
    draft.emit(ModelAnnounced(row.name, command.model))
    return Answer(204)


def registration_failed(draft: Draft, _: Principal, command: RegistrationFailed) -> Answer:
    row = _under_way(draft, command, None)
    if row.attempt < MAX_ATTEMPTS:
        _begin(draft, row, row.state, command.error)
    else:
        draft.emit(VersionMoved(row.name, row.version, VersionState.FAILED, command.error))
    return Answer(204)


def set_alias(draft: Draft, who: Principal, command: SetAlias) -> Answer:
    row = _version(draft, command.name, command.version)
    if row.owner_id != who.id:
        raise NotFound(f"no such version: {command.name}@{command.version}")
    if row.state is not VersionState.AVAILABLE:
        raise Conflict(f"{command.name}@{command.version} is {row.state}, not AVAILABLE")
    if command.alias == "latest" or command.alias.isdecimal():
        raise Invalid(f"{command.alias!r} always means a version of its own")
    draft.emit(AliasSet(command.name, command.alias, command.version))
    return Answer(204)


def learn_from_fleet(draft: Draft, _: Principal, command: LearnFromFleet) -> Answer:
    """Count lessons, publish what epochs they make, move the cursors: in one commit, so each once.

    StaleAttempt if the shards were read from somewhere else: those lessons are counted already.
    """
    row = find(draft.rows, FLEET, FleetCursorRow)
    if (row.sequences if row else {}) != command.read_from:
        raise StaleAttempt("these reports of the fleet were counted before")
    for family, lessons in command.lessons.items():
        draft.emit(LessonsLearnt(family, lessons))
        fleet = get(draft.rows, fleet_key(family), FleetRow)
        if prior := fleet.experience.epoch(fleet.prior):
            draft.emit(PriorPublished(family, prior))
    draft.emit(FleetRead(FLEET, {**command.read_from, **command.read_to}))
    return Answer(204)


def _begin(draft: Draft, row: VersionRow, state: VersionState, why: str) -> None:
    lease_until = draft.now + CLUSTER_LEASE_S
    draft.emit(VersionMoved(row.name, row.version, state, why, lease_until))
    attempt = _version(draft, row.name, row.version).attempt
    draft.effects.append(Effect(f"{row.name}@{row.version}", "register", EFFECTS[state], attempt))


def _version(draft: Draft, name: str, version: int) -> VersionRow:
    return get(draft.rows, version_key(name, version), VersionRow)


def _under_way(
    draft: Draft,
    command: Evaluated | FamilyBuilt | RegistrationFailed,
    state: VersionState | None,
) -> VersionRow:
    row = _version(draft, command.name, command.version)
    if row.state not in EFFECTS or row.attempt != command.attempt or state not in (None, row.state):
        raise StaleAttempt(f"{row.name}@{row.version} is {row.state} in attempt {row.attempt}")
    return row


HANDLERS: Mapping[type, Callable[[Draft, Principal, Any], Answer]] = {
    Enrol: open_enrolment,
    ConfirmEnrolment: confirm,
    StartUpload: start_upload,
    CompleteFile: complete_file,
    Evaluated: evaluated,
    FamilyBuilt: family_built,
    RegistrationFailed: registration_failed,
    SetAlias: set_alias,
    LearnFromFleet: learn_from_fleet,
}


# --- what each event changes --------------------------------------------------------------------


def evolve(rows: Rows, event: Any) -> Mapping[str, Any]:
    """The rows that `event` changes, by key."""
    match event:
        case UploadStarted():
            name = find(rows, name_key(event.name), NameRow) or NameRow(event.name, event.owner_id)
            row = VersionRow(event.name, event.version, event.owner_id, event.spec)
            return {
                name_key(event.name): replace(name, versions=event.version),
                version_key(event.name, event.version): row,
            }
        case FileReceived():
            row = get(rows, version_key(event.name, event.version), VersionRow)
            return _changed(row, received=(*row.received, event.file))
        case VersionMoved():
            row = get(rows, version_key(event.name, event.version), VersionRow)
            attempt = row.attempt + 1 if event.state is row.state else 1
            return _changed(row, state=event.state, why=event.why, attempt=attempt)
        case VersionMeasured():
            row = get(rows, version_key(event.name, event.version), VersionRow)
            return _changed(row, measured=event.measured)
        case TableStored():
            digest = event.table.family_digest
            row = get(rows, version_key(event.name, event.version), VersionRow)
            table = TableRow(digest, event.table)
            return {table_key(digest): table, **_changed(row, family_reused=event.reused)}
        case ModelAnnounced():
            row = get(rows, version_key(event.name, event.model.version), VersionRow)
            name = get(rows, name_key(event.name), NameRow)
            latest = max(name.latest or 0, event.model.version)
            named = {name_key(event.name): replace(name, latest=latest)}
            return {**named, **_changed(row, model=event.model)}
        case AliasSet():
            name = get(rows, name_key(event.name), NameRow)
            aliases = {**dict(name.aliases), event.alias: event.version}
            return {name_key(event.name): replace(name, aliases=tuple(aliases.items()))}
        case LessonsLearnt():
            key = fleet_key(event.family_digest)
            blank = FleetRow(event.family_digest, Experience(family_digest=event.family_digest))
            fleet = find(rows, key, FleetRow) or blank
            return {key: replace(fleet, experience=fleet.experience.with_lessons(event.lessons))}
        case PriorPublished():
            key = fleet_key(event.family_digest)
            return {key: replace(get(rows, key, FleetRow), prior=event.prior)}
        case FleetRead():
            return {FLEET: FleetCursorRow(event.sequences)}
        case _:
            return shard.evolve(rows, event)


def _changed(row: VersionRow, **changes: Any) -> Mapping[str, Any]:
    return {version_key(row.name, row.version): replace(row, **changes)}


def index(rows: Rows, event: Any, into: Index) -> None:
    """A registration's effect is in the outbox from its start to its result."""
    if not isinstance(event, VersionMoved):
        return
    place = (f"{event.name}@{event.version}", "register")
    if event.lease_until is None:
        into.over(place)
        return
    attempt = get(rows, version_key(event.name, event.version), VersionRow).attempt
    into.outbox[place] = Effect(*place, EFFECTS[event.state], attempt)
    into.due[place] = Deadline(event.lease_until, *place, attempt)
