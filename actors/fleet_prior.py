"""Fleet: reads the shards' reports by cursor, and has the vault count them into epochs.

It keeps nothing: cursors, counts and epochs are the vault's, moved in one commit, so that a restart
loses no report and counts none twice. The rules are `stillhouse.contribution` and `.fleet`.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import ray

from actors.desk import own
from actors.job_manager import tick_forever
from actors.reading import FleetReports
from actors.settings import VAULT, ActorSettings
from stillhouse.commands import LearnFromFleet
from stillhouse.contribution import lesson
from stillhouse.cost import Family
from stillhouse.entities import FamilyTable
from stillhouse.errors import StillhouseError
from stillhouse.fleet import Lesson
from stillhouse.versions import FLEET

FAMILIES = 8  # whose arrays stay in memory
Read = Callable[[Mapping[str, int]], dict[str, FleetReports]]
log = logging.getLogger(__name__)


class Reader:
    """Where it stands in each shard's journal. No Ray here: `read` gives the pages behind there."""

    def __init__(self, shards: tuple[str, ...], read: Read, table: Callable[[str], Any]) -> None:
        self._at = dict.fromkeys(shards, 0)
        self._read = read

        def family(digest: str) -> Family:
            found: FamilyTable = table(digest)
            return Family.of(found)

        self._family = lru_cache(FAMILIES)(family)

    def next(self, counted: Mapping[str, int]) -> LearnFromFleet | None:
        """The next reports to count behind `counted`; None once all journals are read."""
        self._at = {name: max(at, counted.get(name, 0)) for name, at in self._at.items()}
        moved = True
        while moved:
            before, found = self._at, self._read(self._at)
            self._at = {name: found[name].sequence for name in before}
            if any(page.told for page in found.values()):
                return LearnFromFleet(dict(counted), dict(self._at), self._lessons(found))
            moved = self._at != before
        return None

    def _lessons(self, found: Mapping[str, FleetReports]) -> dict[str, tuple[Lesson, ...]]:
        lessons: dict[str, list[Lesson]] = defaultdict(list)
        for told in (each for page in found.values() for each in page.told):
            family = self._family(told.family_digest)
            learnt = lesson(family, told.probes, told.report, first=told.first)
            lessons[told.family_digest].append(learnt)
        return {family: tuple(each) for family, each in lessons.items()}


class Fleet:
    """One for all shards."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._reader = self._from_the_start()
        tick_forever(settings.tick_s)

    def tick(self) -> None:
        """Count what is new, page by page."""
        vault = ray.get_actor(VAULT, self._settings.namespace)
        while command := self._reader.next(self._counted(vault)):
            answers: Any = ray.get(vault.apply.remote([own(command)]))
            if isinstance(answers[0], StillhouseError):
                log.warning("the fleet's reports were not counted: %s", answers[0])
                self._reader = self._from_the_start()  # of what the vault has counted
                return

    def ready(self) -> bool:
        return True

    def _counted(self, vault: Any) -> dict[str, int]:
        rows: Any = ray.get(vault.rows.remote([FLEET]))
        return rows[FLEET].sequences if rows[FLEET] else {}

    def _from_the_start(self) -> Reader:
        names = tuple(self._settings.manager(shard) for shard in range(self._settings.shards))
        return Reader(names, self._read, self._table)

    def _read(self, behind: Mapping[str, int]) -> dict[str, FleetReports]:
        space = self._settings.namespace
        asked = [ray.get_actor(name, space).fleet_reports.remote(at) for name, at in behind.items()]
        return dict(zip(behind, ray.get(asked), strict=True))

    def _table(self, family_digest: str) -> Any:
        vault = ray.get_actor(VAULT, self._settings.namespace)
        return ray.get(vault.table.remote(family_digest))
