"""Profiles: what a client's device can afford. ETag is the revision; a change names it."""

import re

from fastapi import APIRouter, Request, Response

from serve_app.asking import ask, asked, backend, body_of, described, respond, row_of, show, signed
from serve_app.lists import PAGE, Cursor, Limit
from stillhouse.commands import CreateProfile, DeleteProfile, ReplaceProfile
from stillhouse.entities import EdgeModelProfile, ProfileSpec
from stillhouse.errors import Invalid, NotFound
from stillhouse.ids import derived_id
from stillhouse.rows import PrincipalRow, ProfileRow
from stillhouse.wire.messages import ProfileList

router = APIRouter(prefix="/clients/{client_id}/edge_model_profile", tags=["profiles"])


@router.post(
    "", status_code=201, response_model=EdgeModelProfile, openapi_extra=described(ProfileSpec)
)
async def create(
    request: Request, client_id: str, spec: ProfileSpec = body_of(ProfileSpec)
) -> Response:
    """Declare a profile."""
    id = derived_id("prf", client_id, signed(request).nonce)
    command = CreateProfile(client_id, id, spec)
    answer = await backend(request).apply(client_id, asked(request, command))
    return respond(answer, ETag='"1"', Location=f"/clients/{client_id}/edge_model_profile/{id}")


@router.get("", response_model=ProfileList)
async def list_all(
    request: Request, client_id: str, limit: Limit = PAGE, cursor: Cursor | None = None
) -> Response:
    """A client's profiles, oldest first."""
    owner = await row_of(request, client_id, PrincipalRow, "read_client", lambda row: row.id)
    first = after(owner.profiles, cursor)
    ids = owner.profiles[first : first + limit]
    rows = await backend(request).rows(client_id, ids)
    more = ids[-1] if first + limit < len(owner.profiles) else None
    profiles = tuple(row.profile for row in rows.values() if row)
    return show(ProfileList(profiles=profiles, next_cursor=more))


def after(ids: tuple[str, ...], cursor: str | None) -> int:
    """The place behind `cursor`, an id that ended a page; Invalid if it is none of them."""
    if cursor is None:
        return 0
    if cursor not in ids:
        raise Invalid("cursor: give back what the page before gave as next_cursor")
    return ids.index(cursor) + 1


@router.get("/{profile_id}", response_model=EdgeModelProfile)
async def read(request: Request, client_id: str, profile_id: str) -> Response:
    """One profile, with its ETag."""
    row = await row_of(
        request, profile_id, ProfileRow, "read_client", lambda row: row.profile.client_id
    )
    if row.profile.client_id != client_id:
        raise NotFound(f"no such id: {profile_id[:80]!r}")
    return show(row.profile, ETag=f'"{row.profile.revision}"')


@router.put("/{profile_id}", response_model=EdgeModelProfile, openapi_extra=described(ProfileSpec))
async def replace(
    request: Request, client_id: str, profile_id: str, spec: ProfileSpec = body_of(ProfileSpec)
) -> Response:
    """A new revision; jobs under way keep the one that they pinned."""
    command = ReplaceProfile(client_id, profile_id, spec, if_match(request))
    answer = await backend(request).apply(profile_id, asked(request, command))
    return respond(answer, ETag=f'"{answer.document["revision"]}"')


@router.delete("/{profile_id}", status_code=204)
async def delete(request: Request, client_id: str, profile_id: str) -> Response:
    """Refused while a job uses it."""
    return await ask(request, profile_id, DeleteProfile(client_id, profile_id, if_match(request)))


def if_match(request: Request) -> int | None:
    """The revision that If-Match names; Invalid if it is no ETag of ours."""
    value = request.headers.get("if-match")
    if value is None:
        return None
    if not re.fullmatch(r'"[1-9]\d{0,8}"', value):
        raise Invalid("If-Match takes the profile's ETag as it was read, with its quotes")
    return int(value.strip('"'))
