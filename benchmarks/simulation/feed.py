"""The vault's feed: records of versions and aliases, with gaps between their numbers."""

from benchmarks.simulation.cast import central_model
from stillhouse.commands import Announce

NAMES = ("wrist", "wrist", "ankle")
ASKED = (
    "wrist",
    "wrist@1",
    "wrist@latest",
    "wrist",
    "wrist@production",
    "wrist",
    "wrist",
    "ankle",
    "wrist",
    "wrist",
    "nowhere",
)


class Feed:
    """What was published, oldest first; `reads` is what a shard is told, perhaps less."""

    def __init__(self) -> None:
        self.records: list[tuple[int, Announce]] = []
        self._versions = {"wrist": 0, "ankle": 0}

    def publish(self, how: int) -> Announce:
        name = NAMES[how % len(NAMES)]
        latest = self._versions[name]
        if latest and how % 2:
            record = Announce(name, alias="production", version=latest)
        else:
            self._versions[name] += 1
            record = Announce(name, model=central_model(name, latest + 1))
        self.records.append((3 * len(self.records) + 2, record))
        return record

    def after(self, cursor: int) -> list[tuple[int, Announce]]:
        return [record for record in self.records if record[0] > cursor]

    def until(self, cursor: int) -> list[Announce]:
        return [record for sequence, record in self.records if sequence <= cursor]
