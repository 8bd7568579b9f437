"""What a benchmark hands over, and what it says of the machine that it ran on."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stillhouse.entities import Entity

PACKAGES = ("apsw", "numpy", "pydantic", "ray", "torch")
Value = str | int | float


@dataclass(frozen=True, slots=True)
class Measured:
    """Named results, units in the names, and the rows that they are the medians of."""

    metrics: dict[str, float]
    rows: tuple[dict[str, Value], ...]
    draw: Callable[[Path], None] | None = None  # a picture of them into this file


class Report(Entity):
    """The JSON file."""

    bench: str
    environment: dict[str, Value]
    metrics: dict[str, float]
    rows: tuple[dict[str, Value], ...]


def environment() -> dict[str, Value]:
    """Machine and versions: figures of two environments are not compared."""
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count() or 0,
        "load_1min": os.getloadavg()[0],
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
