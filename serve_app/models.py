"""Central models: an owner uploads sealed files, reads what became of them, sets aliases."""

import re

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from serve_app.asking import asked, backend, body_of, described, respond, show, signed
from stillhouse.authorization import authorize
from stillhouse.entities import Entity, Name, Role
from stillhouse.errors import Invalid, NotFound
from stillhouse.vault import (
    CentralModelVersion,
    CompleteFile,
    NameRow,
    SetAlias,
    StartUpload,
    VersionRow,
    name_key,
    version_key,
)
from stillhouse.wire.messages import AliasRequest, UploadRequest

router = APIRouter(prefix="/central_models/{name}", tags=["central models"])
RANGE = re.compile(r"^bytes (\d{1,12})-(\d{1,12})/(\d{1,12})$")
NAME: TypeAdapter[str] = TypeAdapter(Name)


class UploadedPart(Entity):
    """How much of a file is there; with a gap the next part begins here."""

    length: int
    complete: bool


class Alias(Entity):
    """An alias and the version that it means."""

    name: str
    alias: str
    version: int


@router.post(
    "/versions", status_code=201, response_model=CentralModelVersion,
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
    "/versions/{version}/files/{file}", response_model=UploadedPart,
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


@router.get("/versions/{version}", response_model=CentralModelVersion)
async def read(request: Request, name: str, version: int) -> Response:
    """Where a version stands, and what the system measured of it."""
    who = signed(request).principal
    authorize(who, "read_model")
    key = version_key(checked(name), version)
    row = (await backend(request).vault_rows([key]))[key]
    hidden = not isinstance(row, VersionRow) or (
        row.owner_id != who.id and (who.role is Role.OWNER or row.model is None)
    )
    if hidden:
        raise NotFound(f"no such version: {name}@{version}")
    progress = await backend(request).build_progress(name)
    return show(row.document().model_copy(update={"build_progress": progress}))


@router.put("/aliases/{alias}", status_code=204, openapi_extra=described(AliasRequest))
async def set_alias(
    request: Request, name: str, alias: str, body: AliasRequest = body_of(AliasRequest)
) -> Response:
    """Point an alias to a version; jobs that were submitted before keep theirs."""
    command = SetAlias(checked(name), checked(alias), body.version)
    return respond(await backend(request).vault(asked(request, command)))


@router.get("/aliases/{alias}", response_model=Alias)
async def read_alias(request: Request, name: str, alias: str) -> Response:
    """The version that an alias means now."""
    authorize(signed(request).principal, "read_model")
    key = name_key(checked(name))
    row = (await backend(request).vault_rows([key]))[key]
    aliases = dict(row.aliases) if isinstance(row, NameRow) else {}
    if alias not in aliases:
        raise NotFound(f"no alias {name}@{alias}")
    return show(Alias(name=name, alias=alias, version=aliases[alias]))


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
