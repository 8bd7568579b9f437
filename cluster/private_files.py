"""Files that no other user of the machine may read: folders 0700, files 0600; durably written."""

import os
import tempfile
from pathlib import Path

from stillhouse.errors import Forbidden


def make_folder(path: Path) -> None:
    """Create `path` and the folders above it that are missing, each 0700."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Write all of it or nothing: readers see the old content or the new, also after a crash."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in this folder durable; a file's own fsync does not."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check_private(path: Path) -> None:
    """Forbidden unless `path` exists, is ours, and is closed to group and others."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Forbidden(f"{path} is missing") from None
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Forbidden(f"{path} must belong to this user and be closed to all others")
