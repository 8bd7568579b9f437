"""What a second run takes over from the first, each thing by the digest of all that it depends on.

Nothing here is ever out of date: other data, other code or another seed have another key.
"""

from collections.abc import Callable
from pathlib import Path

from cluster.private_files import write_file


class Cache:
    """A folder of results by key. `reused` names what was found in it, for the report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reused: list[str] = []

    def keep(self, what: str, key: str, make: Callable[[], bytes]) -> bytes:
        """What was kept under `key`, or what `make` makes now; `what` is its name for people."""
        found = self.find(key)
        if found is not None:
            self.reused.append(what)
            return found
        made = make()
        self.put(key, made)
        return made

    def find(self, key: str) -> bytes | None:
        path = self.folder / key
        return path.read_bytes() if path.exists() else None

    def put(self, key: str, made: bytes) -> None:
        write_file(self.folder / key, made)
