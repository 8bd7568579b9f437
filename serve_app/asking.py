"""What every route has in common: read the body strictly, ask the cluster, answer.

Bodies are parsed in strict JSON mode: a number in quotes is a wrong type, not a number.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel, ValidationError

from actors.gate import Signed
from serve_app.backend import Backend
from stillhouse import decisions
from stillhouse.authorization import authorize, owned
from stillhouse.entities import Entity
from stillhouse.errors import Invalid, NotFound, UnsupportedFormat
from stillhouse.wire.problems import in_words

B = TypeVar("B", bound=BaseModel)
R = TypeVar("R")
BODIES: dict[str, type[BaseModel]] = {}  # of all routes, for the OpenAPI document


def body_of(model: type[B]) -> Any:
    """A dependency that gives the request's body as `model`; Invalid names the fields at fault."""

    async def parse(request: Request) -> B:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedFormat(f"this route reads application/json, not {kind[:80]!r}")
        try:
            return model.model_validate_json(await request.body(), strict=True)
        except ValidationError as error:
            raise Invalid(in_words(error)) from None

    return Depends(parse)


def described(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI of a body that `body_of` reads; `openapi.py` puts the schemas in their place."""
    BODIES[model.__name__] = model
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def backend(request: Request) -> Backend:
    found: Backend = request.app.state.backend
    return found


def signed(request: Request) -> Signed:
    found: Signed = request.state.signed
    return found


def asked(request: Request, command: Any) -> decisions.Request:
    """The command as a shard reads it: the nonce is its key."""
    by = signed(request)
    return decisions.Request(f"{by.principal.id}:{by.nonce}", by.digest, by.principal, command)


async def ask(request: Request, id: str, command: Any) -> Response:
    """Apply the command in the shard of `id`, and answer with what it decided."""
    return respond(await backend(request).apply(id, asked(request, command)))


def respond(answer: decisions.Answer, **headers: str) -> Response:
    content = b"" if answer.document is None else json.dumps(answer.document).encode()
    kind = "application/json" if content else None
    every = {**(answer.headers or {}), **headers}
    return Response(content, answer.status, every, media_type=kind)


def show(document: Entity, status: int = 200, **headers: str) -> Response:
    content = document.model_dump_json().encode()
    return Response(content, status, headers, media_type="application/json")


async def row_of(
    request: Request, id: str, kind: type[R], action: str, client: Callable[[R], str]
) -> R:
    """A row that the caller may see; NotFound for another client's as for none."""
    who = signed(request).principal
    authorize(who, action)
    row = (await backend(request).rows(id, [id]))[id]
    if not isinstance(row, kind):
        raise NotFound(f"no such id: {id[:80]!r}")
    owned(who, client(row), id)
    return row
