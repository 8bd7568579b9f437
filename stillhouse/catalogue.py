"""The shard's copy of what the vault publishes, and what a version's name means in it."""

from stillhouse.commands import (
    Announce,
    MoveCursor,
)
from stillhouse.decisions import Answer
from stillhouse.draft import Draft
from stillhouse.entities import (
    CentralModel,
    Principal,
)
from stillhouse.events import (
    AliasSet,
    CursorMoved,
    ModelAnnounced,
)
from stillhouse.rows import (
    CURSOR,
    CatalogueRow,
    Rows,
    catalogue_key,
    find,
)


def resolve(rows: Rows, asked: str) -> CentralModel | None:
    """The version that `name`, `name@version` or `name@alias` means now, or None."""
    name, _, wanted = asked.partition("@")
    catalogue = find(rows, catalogue_key(name), CatalogueRow)
    if catalogue is None or not catalogue.versions:
        return None
    if wanted in ("", "latest"):
        return catalogue.versions[-1]
    number = int(wanted) if wanted.isdecimal() else catalogue.aliases.get(wanted)
    return next((model for model in catalogue.versions if model.version == number), None)


def announce(draft: Draft, _: Principal, command: Announce) -> Answer:
    if command.model is not None:
        draft.emit(ModelAnnounced(command.name, command.model))
    if command.alias is not None and command.version is not None:
        draft.emit(AliasSet(command.name, command.alias, command.version))
    return Answer(204)


def move_cursor(draft: Draft, _: Principal, command: MoveCursor) -> Answer:
    find(draft.rows, CURSOR, object)
    draft.emit(CursorMoved("vault", command.sequence))
    return Answer(204)
