"""Is this replica alive, and can it answer?"""

from fastapi import APIRouter, Request, Response

from serve_app.asking import backend, show
from stillhouse.entities import Entity

router = APIRouter(tags=["health"])


class Health(Entity):
    """One word."""

    status: str


@router.get("/healthz", response_model=Health)
async def alive() -> Response:
    """This process answers."""
    return show(Health(status="alive"))


@router.get("/readyz", response_model=Health)
async def ready(request: Request) -> Response:
    """The vault and every shard answer; 503 with a problem until then."""
    await backend(request).ready()
    return show(Health(status="ready"))
