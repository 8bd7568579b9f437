"""A journal in memory whose reads and commits fail when the story says so."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cluster.journal.contract import Commit, JournalIdentity, StoredAnswer
from cluster.journal.memory import MemoryJournal, Volume
from stillhouse.decisions import Deadline, Effect, Ready
from stillhouse.errors import JournalUnavailable

UNWRITTEN, WRITTEN = "unwritten", "written"  # what a failed commit left on the disk


class Crash(BaseException):
    """The process ends here and now; no `except Exception` may see it."""


@dataclass(slots=True)
class Faults:
    """What is about to go wrong in one shard."""

    commits: list[str] = field(default_factory=list)
    reads: int = 0
    crash_in: int | None = None  # stages from now
    failed: int = 0

    def point(self) -> None:
        """Between two stages: the process may end."""
        if self.crash_in is None:
            return
        self.crash_in -= 1
        if self.crash_in < 0:
            self.crash_in = None
            raise Crash

    def read(self) -> None:
        if self.reads:
            self.reads -= 1
            raise JournalUnavailable("the disk does not answer")

    def calm(self) -> None:
        self.commits.clear()
        self.reads, self.crash_in = 0, None


class Disk(MemoryJournal):
    """`written` sees each commit as it reaches the volume, whatever the store is told of it."""

    def __init__(
        self,
        volume: Volume,
        identity: JournalIdentity,
        faults: Faults,
        written: Callable[[Commit], None],
    ) -> None:
        super().__init__(volume, identity)
        self._faults, self._written = faults, written

    def commit(self, batch: Commit) -> None:
        faults = self._faults
        fate = faults.commits.pop(0) if faults.commits else ""
        faults.failed += bool(fate)
        faults.point()
        if fate == UNWRITTEN:
            raise JournalUnavailable("the disk is full")
        super().commit(batch)
        self._written(batch)
        faults.point()
        if fate == WRITTEN:
            raise JournalUnavailable("the disk failed after its last write")

    def load(self, keys: Iterable[str]) -> dict[str, bytes]:
        self._faults.read()
        return super().load(keys)

    def answers(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        self._faults.read()
        return super().answers(keys)

    def outbox(self) -> list[Effect]:
        self._faults.read()
        return super().outbox()

    def due(self, now: float, limit: int) -> list[Deadline]:
        self._faults.read()
        return super().due(now, limit)

    def ready(self, priority: int, after: str) -> Ready | None:
        self._faults.read()
        return super().ready(priority, after) if self._volume.ready else None  # asked most often

    def waiting(self, model: str, after: str, limit: int) -> list[str]:
        self._faults.read()
        return super().waiting(model, after, limit)

    def running_jobs(self, client_id: str, limit: int) -> list[str]:
        self._faults.read()
        return super().running_jobs(client_id, limit)
