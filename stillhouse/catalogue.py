"""The shard's copy of what the vault publishes, and what a version's name means in it."""

from stillhouse.commands import (
    Announce,
    AnnouncePrior,
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
    PriorPublished,
)
from stillhouse.rows import (
    CURSOR,
    CatalogueRow,
    PriorRow,
    Rows,
    catalogue_key,
    find,
    prior_key,
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
    """What is known already is no event: after a crash the feed is taken up again."""
    key = catalogue_key(command.name)
    known = find(draft.rows, key, CatalogueRow) or CatalogueRow(command.name)
    model, alias, version = command.model, command.alias, command.version
    if model is not None and model not in known.versions:
        draft.emit(ModelAnnounced(command.name, model))
    if alias is not None and version is not None and known.aliases.get(alias) != version:
        draft.emit(AliasSet(command.name, alias, version))
    return Answer(204)


def announce_prior(draft: Draft, _: Principal, command: AnnouncePrior) -> Answer:
    """An epoch that is not newer than the known one is no event."""
    prior = command.prior
    known = find(draft.rows, prior_key(prior.family_digest), PriorRow)
    if known is None or known.prior.epoch < prior.epoch:
        draft.emit(PriorPublished(prior.family_digest, prior))
    return Answer(204)


def move_cursor(draft: Draft, _: Principal, command: MoveCursor) -> Answer:
    find(draft.rows, CURSOR, object)
    draft.emit(CursorMoved("vault", command.sequence))
    return Answer(204)
