"""The API as one ASGI application: routes by noun behind the gate, each error a problem."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from actors.gate import Find, Gate, problem_for
from serve_app import dead_letters, deliveries, devices, endpoints, health, jobs, models, profiles
from serve_app.backend import Backend
from serve_app.doors import Where
from serve_app.openapi import describe
from stillhouse.errors import Invalid, NotFound, StillhouseError
from stillhouse.wire.problems import Problem, problem_of

METHOD_NOT_ALLOWED = Problem(
    type="urn:stillhouse:problem:method_not_allowed",
    title="Not with this method",
    status=405,
    code="method_not_allowed",
    detail="The Allow header names the methods that this path has.",
    action="Use one of them.",
)
NOUNS = (profiles, jobs, dead_letters, devices, deliveries, models, health, endpoints)


async def nowhere_else() -> tuple[str, ...]:
    """What a server tells that knows no place but the one where it was asked."""
    return ()


def create_app(
    backend: Backend,
    find: Find,
    authorities: Sequence[str],
    *,
    open_enrolment: bool,
    where: Where = nowhere_else,
) -> Any:
    """The gate around the routes. `open_enrolment` is for the loopback development mode alone."""
    routes = create_routes(backend, open_enrolment=open_enrolment, where=where)
    return Gate(routes, find, authorities)


def create_routes(
    backend: Backend, *, open_enrolment: bool, where: Where = nowhere_else
) -> FastAPI:
    """The routes without the gate: what the OpenAPI document describes."""
    app = FastAPI(
        title="Stillhouse",
        version="1",
        description="Fits one large model to every device of a fleet.",
        docs_url=None,  # its page loads from a CDN
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lose the signature
    )
    app.state.backend = backend
    app.state.open_enrolment = open_enrolment
    app.state.where = where
    for noun in NOUNS:
        app.include_router(noun.router)
    app.add_exception_handler(StillhouseError, failed)
    app.add_exception_handler(Exception, failed)
    app.add_exception_handler(RequestValidationError, misread)
    app.add_exception_handler(HTTPException, missing)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]
    return app


def described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = describe(app)
    return app.openapi_schema


async def failed(_: Request, error: Exception) -> Response:
    return answer(problem_for(error))  # a bug is raised again behind this, for the gate's log


async def misread(_: Request, error: Exception) -> Response:
    """A path or query parameter of the wrong type."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for it alone
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return answer(problem_of(Invalid(f"{place}: {first['msg'].lower()}")))


async def missing(request: Request, error: Exception) -> Response:
    """No such route, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it alone
    if error.status_code == 405:
        return answer(METHOD_NOT_ALLOWED, **(error.headers or {}))
    return answer(problem_of(NotFound(f"no route {request.method} {request.url.path[:80]}")))


def answer(problem: Problem, **headers: str) -> Response:
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, problem.status, headers, media_type="application/problem+json")
