"""Sealed files on disk, by name: uploads that grow piece by piece, families written at once.

What is kept here is sealed by the caller; this module knows no key and looks at no content.
"""

import hashlib
import os
import re
from pathlib import Path

from cluster.private_files import make_folder, sync_folder, write_file
from stillhouse.errors import Conflict, Invalid, NotFound

# No segment begins with a dot, so none is `..`, and none is a temporary file of `write_file`.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(/[a-z0-9][a-z0-9._-]{0,63}){0,3}")


class Artefacts:
    """A folder of artefacts; names have one to four segments, `uploads/wrist/1/weights`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Keep `data` under `name`, whole or not at all."""
        write_file(self._path(name), data)

    def get(self, name: str) -> bytes:
        """The whole artefact; NotFound if there is none."""
        return self._existing(name).read_bytes()

    def has(self, name: str) -> bool:
        return self._path(name).is_file()

    def length(self, name: str) -> int:
        """Bytes so far: where a broken upload goes on; 0 if it never began."""
        return self._existing(name).stat().st_size if self.has(name) else 0

    def append(self, name: str, offset: int, data: bytes | memoryview) -> int:
        """Add `data` at `offset`, durably; the new length. Conflict unless it begins at the end."""
        length = self.length(name)
        if offset != length:
            raise Conflict(f"{name} has {length} bytes: go on from there, not from {offset}")
        path = self._path(name)
        make_folder(path.parent)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if length == 0:
            sync_folder(path.parent)
        return length + len(data)

    def digest(self, name: str) -> str:
        """SHA-256, hexadecimal, read in pieces; NotFound if there is none."""
        with self._existing(name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _path(self, name: str) -> Path:
        if NAME.fullmatch(name) is None:
            raise Invalid(f"not the name of an artefact: {name[:80]!r}")
        return self._root / name

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise NotFound(f"no artefact {name}")
        return path
