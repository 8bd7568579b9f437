"""Profiles: what a client declares of its device. Every change names the revision it changes."""

from stillhouse.authorization import owned
from stillhouse.commands import (
    CreateProfile,
    DeleteProfile,
    ReplaceProfile,
)
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import (
    EdgeModelProfile,
    Principal,
)
from stillhouse.errors import (
    Conflict,
    PreconditionFailed,
    PreconditionRequired,
    ProfileInUse,
)
from stillhouse.events import (
    ProfileDeleted,
    ProfileStored,
)
from stillhouse.rows import (
    PrincipalRow,
    ProfileRow,
    find,
    get,
)


def create_profile(draft: Draft, who: Principal, command: CreateProfile) -> Answer:
    owned(who, command.client_id, command.client_id)
    get(draft.rows, command.client_id, PrincipalRow)
    if find(draft.rows, command.profile_id, ProfileRow) is not None:
        raise Conflict(f"profile {command.profile_id} exists")
    return _store_profile(draft, command, revision=1, status=201)


def replace_profile(draft: Draft, who: Principal, command: ReplaceProfile) -> Answer:
    old = profile_of(draft, who, command.client_id, command.profile_id)
    _precondition(command.revision, old.profile.revision)
    return _store_profile(draft, command, old.profile.revision + 1, status=200)


def _store_profile(
    draft: Draft, command: CreateProfile | ReplaceProfile, revision: int, status: int
) -> Answer:
    profile = EdgeModelProfile(
        id=command.profile_id, client_id=command.client_id, revision=revision, spec=command.spec
    )
    draft.emit(ProfileStored(profile.id, profile))
    return accepted(profile, status)


def delete_profile(draft: Draft, who: Principal, command: DeleteProfile) -> Answer:
    row = profile_of(draft, who, command.client_id, command.profile_id)
    _precondition(command.revision, row.profile.revision)
    if row.open_jobs:
        raise ProfileInUse(f"{row.open_jobs} open jobs use profile {command.profile_id}")
    draft.emit(ProfileDeleted(command.profile_id, command.client_id))
    return Answer(204)


def profile_of(draft: Draft, who: Principal, client_id: str, profile_id: str) -> ProfileRow:
    """The client's profile, as far as `who` may see it."""
    row = get(draft.rows, profile_id, ProfileRow)
    owned(who, row.profile.client_id, profile_id)
    if row.profile.client_id != client_id:
        get({profile_id: None}, profile_id, ProfileRow)  # foreign: the same NotFound as unknown
    return row


def _precondition(wanted: int | None, current: int) -> None:
    if wanted is None:
        raise PreconditionRequired("send If-Match with the profile's ETag")
    if wanted != current:
        raise PreconditionFailed(f"the profile is at revision {current}, not {wanted}")
