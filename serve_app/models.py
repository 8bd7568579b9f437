"""Central models: an owner uploads sealed files, reads what became of them, sets aliases."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from serve_app.asking import asked, backend, body_of, described, respond, show, signed
from serve_app.lists import PAGE, Cursor, Limit
from stillhouse.authorization import authorize
from stillhouse.entities import Entity, Name, Principal, Role
from stillhouse.errors import Invalid, NotFound
from stillhouse.versions import (
    CentralModelVersion,
    CompleteFile,
    NameRow,
    SetAlias,
    StartUpload,
    VersionRow,
    name_key,
    version_key,
)
from stillhouse.wire.messages import AliasRequest, ModelList, ModelSummary, UploadRequest

router = APIRouter(prefix="/central_models", tags=["central models"])
RANGE = re.compile(r"^bytes (\d{1,12})-(\d{1,12})/(\d{1,12})$")
NAME: TypeAdapter[str] = TypeAdapter(Name)
VersionCursor = Annotated[
    int, Query(ge=0, le=1 << 31, description="next_cursor of the page before")
]


class UploadedPart(Entity):
    """How much of a file is there; with a gap the next part begins here."""

    length: int
    complete: bool


class Alias(Entity):
    """An alias and the version that it means."""

    name: str
    alias: str
    version: int


class VersionList(Entity):
    """A page of the versions of one name, oldest first."""

    versions: tuple[CentralModelVersion, ...]
    next_cursor: str | None


@router.get("", response_model=ModelList)
async def list_all(request: Request, limit: Limit = PAGE, cursor: Cursor | None = None) -> Response:
    """Central models by name; an owner sees its own, a client those that are available."""
    who = signed(request).principal
    authorize(who, "read_model")
    found: list[NameRow] = []
    last = "" if cursor is None else checked(cursor)
    while len(found) <= limit:
        page = await backend(request).names(last, limit + 1)
        found += [row for row in page if listed(row, who)]
        if len(page) <= limit:
            break
        last = page[-1].name
    more = found[limit - 1].name if len(found) > limit else None
    models = tuple(summary(row) for row in found[:limit])
    return show(ModelList(models=models, next_cursor=more))


@router.get("/{name}/versions", response_model=VersionList)
async def list_versions(
    request: Request, name: str, limit: Limit = PAGE, cursor: VersionCursor = 0
) -> Response:
    """The versions of a name: an owner's own in every state, others those that are available."""
    who = signed(request).principal
    authorize(who, "read_model")
    key = name_key(checked(name))
    row = (await backend(request).vault_rows([key]))[key]
    if not isinstance(row, NameRow) or (who.role is Role.OWNER and row.owner_id != who.id):
        raise NotFound(f"no such central model: {name!r}")
    numbers = range(cursor + 1, min(cursor + limit, row.versions) + 1)
    rows = await backend(request).vault_rows([version_key(name, number) for number in numbers])
    shown = tuple(each.document() for each in rows.values() if visible(each, who))
    more = str(numbers[-1]) if numbers and numbers[-1] < row.versions else None
    return show(VersionList(versions=shown, next_cursor=more))


@router.post(
    "/{name}/versions", status_code=201, response_model=CentralModelVersion,
    openapi_extra=described(UploadRequest),
)  # fmt: skip
async def start(
    request: Request, name: str, body: UploadRequest = body_of(UploadRequest)
) -> Response:
    """Start a version: what it is, and the digests of the four sealed files to come."""
    command = StartUpload(checked(name), body.spec)
    answer = await backend(request).vault(asked(request, command))
    version = answer.document["version"]
    return respond(answer, Location=f"/central_models/{name}/versions/{version}")


@router.put(
    "/{name}/versions/{version}/files/{file}", response_model=UploadedPart,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {}}}}},
)  # fmt: skip
async def put_file(request: Request, name: str, version: int, file: str) -> Response:
    """A sealed file, whole or in parts with Content-Range; a part begins where the last ended."""
    who = signed(request).principal
    authorize(who, "CompleteFile")
    data = await request.body()
    offset = part_offset(request.headers.get("content-range"), len(data))
    place = (checked(name), version, checked(file))
    length, digest = await backend(request).append(who, *place, offset, data)
    if digest is not None:
        await backend(request).vault(asked(request, CompleteFile(*place, digest)))
    return show(UploadedPart(length=length, complete=digest is not None))


@router.get("/{name}/versions/{version}", response_model=CentralModelVersion)
async def read(request: Request, name: str, version: int) -> Response:
    """Where a version stands, and what the system measured of it."""
    who = signed(request).principal
    authorize(who, "read_model")
    key = version_key(checked(name), version)
    row = (await backend(request).vault_rows([key]))[key]
    if not isinstance(row, VersionRow) or not visible(row, who):
        raise NotFound(f"no such version: {name}@{version}")
    progress = await backend(request).build_progress(name)
    return show(row.document().model_copy(update={"build_progress": progress}))


@router.put("/{name}/aliases/{alias}", status_code=204, openapi_extra=described(AliasRequest))
async def set_alias(
    request: Request, name: str, alias: str, body: AliasRequest = body_of(AliasRequest)
) -> Response:
    """Point an alias to a version; jobs that were submitted before keep theirs."""
    command = SetAlias(checked(name), checked(alias), body.version)
    return respond(await backend(request).vault(asked(request, command)))


@router.get("/{name}/aliases/{alias}", response_model=Alias)
async def read_alias(request: Request, name: str, alias: str) -> Response:
    """The version that an alias means now."""
    authorize(signed(request).principal, "read_model")
    key = name_key(checked(name))
    row = (await backend(request).vault_rows([key]))[key]
    aliases = dict(row.aliases) if isinstance(row, NameRow) else {}
    if alias not in aliases:
        raise NotFound(f"no alias {name}@{alias}")
    return show(Alias(name=name, alias=alias, version=aliases[alias]))


def listed(row: NameRow, who: Principal) -> bool:
    match who.role:
        case Role.OWNER:
            return row.owner_id == who.id
        case Role.CLIENT:
            return row.latest is not None
    return True


def summary(row: NameRow) -> ModelSummary:
    return ModelSummary(
        name=row.name,
        owner_id=row.owner_id,
        versions=row.versions,
        latest=row.latest,
        aliases=dict(row.aliases),
    )


def visible(row: VersionRow, who: Principal) -> bool:
    """An owner sees what it registered, everybody else what is available."""
    return row.owner_id == who.id or (who.role is not Role.OWNER and row.model is not None)


def checked(name: str) -> str:
    """NotFound for what cannot be a name: so no path, key or file is ever made from it."""
    try:
        return NAME.validate_python(name)
    except ValidationError:
        raise NotFound(f"no such name: {name[:80]!r}") from None


def part_offset(header: str | None, length: int) -> int:
    """Where the part begins; 0 for a whole file. Invalid if the header disagrees with the body."""
    if header is None:
        return 0
    found = RANGE.match(header)
    if found is None:
        raise Invalid("Content-Range must read: bytes first-last/total")
    first, last, total = map(int, found.groups())
    if last - first + 1 != length or last >= total:
        raise Invalid(f"Content-Range {header!r} does not fit a body of {length} bytes")
    return first
