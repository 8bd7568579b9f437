"""Dead letters: effects that failed for good. An operator looks at them, and replays them."""

from fastapi import APIRouter, Request, Response

from serve_app.asking import ask, backend, show, signed
from serve_app.backend import died_at
from serve_app.documents import dead_letter
from serve_app.lists import PAGE, Cursor, Limit
from stillhouse.authorization import authorize
from stillhouse.commands import ReplayDeadLetter
from stillhouse.entities import DistillationJob
from stillhouse.listing import position_of
from stillhouse.wire.messages import DeadLetterList

router = APIRouter(prefix="/dead_letters", tags=["dead letters"])


@router.get("", response_model=DeadLetterList)
async def list_all(request: Request, limit: Limit = PAGE, cursor: Cursor | None = None) -> Response:
    """Those that wait for a replay, newest first."""
    authorize(signed(request).principal, "read_dead_letters")
    rows = await backend(request).dead_letters(position_of(cursor), limit + 1)
    page = rows[:limit]
    more = died_at(page[-1]).cursor() if len(rows) > limit else None
    return show(DeadLetterList(dead_letters=tuple(map(dead_letter, page)), next_cursor=more))


@router.post("/{letter_id}/replay", response_model=DistillationJob)
async def replay(request: Request, letter_id: str) -> Response:
    """The job goes on where it failed, with as many attempts again and a new deadline."""
    return await ask(request, letter_id, ReplayDeadLetter(letter_id))
