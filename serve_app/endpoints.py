"""Where else is this API?"""

from fastapi import APIRouter, Request, Response

from serve_app.asking import show
from stillhouse.wire.endpoints import PATH, Endpoints

router = APIRouter(tags=["health"])


@router.get(PATH, response_model=Endpoints)
async def endpoints(request: Request) -> Response:
    """Base URLs that answer now, for a client that lost one; the fixed one comes last."""
    return show(Endpoints(endpoints=await request.app.state.where()))
