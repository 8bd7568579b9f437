"""The query of every list: how many, and where the page before ended."""

from typing import Annotated

from fastapi import Query

PAGE = 50
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str, Query(max_length=200, description="next_cursor of the page before")]
Word = Annotated[str, Query(max_length=64)]
