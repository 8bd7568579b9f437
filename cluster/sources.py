"""Which code made a result: what was computed by other code is never taken for the same."""

import hashlib
from pathlib import Path
from types import ModuleType


def code_digest(*packages: ModuleType) -> str:
    """SHA-256 over the Python files of `packages`, their names and contents, hexadecimal."""
    found = hashlib.sha256()
    for package in packages:
        root = Path(str(package.__path__[0]))
        for path in sorted(root.rglob("*.py")):
            found.update(f"{package.__name__} {path.relative_to(root)}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
