"""`stillhouse doctor`: what is here, what is missing, and what to do about it."""

import importlib.metadata
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path

import httpx2
import typer
from rich.table import Table

from stillhouse.cli.door import FAILED, UNREACHABLE, URL, Json, Keys, Url, key_file, out, tell
from stillhouse.entities import Entity, Role

PACKAGES = ("pydantic", "cryptography", "httpx2", "numpy")  # what every device needs
MORE = ("torch", "pyarrow", "ray", "fastapi", "apsw")  # with the extras edge and server
LEAST_FREE_BYTES = 1 << 30
CLOCK_S = 30.0


class Health(StrEnum):
    """How one thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNREACHABLE = "unreachable"


class Finding(Entity):
    """One thing that was looked at; `action` is empty where nothing need be done."""

    what: str
    health: Health
    found: str
    action: str = ""


class Diagnosis(Entity):
    """All findings."""

    findings: tuple[Finding, ...]


def doctor(url: Url = URL, keys: Keys = None, json: Json = False) -> None:
    """Look at Python, packages, keys, disk, the API and the clock."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        python,
        packages,
        lambda: key(keys or key_file(Role.CLIENT)),
        token,
        disk,
        lambda: api(url),
    )
    diagnosis = Diagnosis(findings=tuple(each for look in looks for each in look()))
    tell(diagnosis) if json else show(diagnosis)
    healths = {finding.health for finding in diagnosis.findings}
    if Health.FAIL in healths:
        raise typer.Exit(FAILED)
    if Health.UNREACHABLE in healths:
        raise typer.Exit(UNREACHABLE)


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    action = "install Python 3.11 or later" if old else ""
    yield Finding(
        what="python", health=Health.FAIL if old else Health.OK, found=version, action=action
    )


def packages() -> Iterator[Finding]:
    for name in (*PACKAGES, *MORE):
        try:
            found = importlib.metadata.version(name)
            yield Finding(what=name, health=Health.OK, found=found)
        except importlib.metadata.PackageNotFoundError:
            needed = name in PACKAGES
            yield Finding(
                what=name,
                health=Health.FAIL if needed else Health.WARN,
                found="not installed",
                action="python3 run.py sets everything up" if needed else "extras edge, server",
            )


def key(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(what="key", health=Health.OK, found=f"{path} will be made at first use")
    else:
        yield private("key", path)


def token() -> Iterator[Finding]:
    """The cluster's token, where this machine has one."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", ".stillhouse/ray-token"))
    if path.exists():
        yield private("cluster token", path)


def private(what: str, path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding(
            what=what,
            health=Health.FAIL,
            found=f"{path} has mode {mode:04o}: others can read it",
            action=f"chmod 600 {path}",
        )
    return Finding(what=what, health=Health.OK, found=f"{path}, mode {mode:04o}")


def disk() -> Iterator[Finding]:
    free = shutil.disk_usage(".").free
    low = free < LEAST_FREE_BYTES
    yield Finding(
        what="free disk",
        health=Health.WARN if low else Health.OK,
        found=f"{free / 1e9:.1f} GB",
        action="journals and families need room" if low else "",
    )


def api(url: str) -> Iterator[Finding]:
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=10, trust_env=False)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        yield Finding(
            what="API",
            health=Health.UNREACHABLE,
            found=f"{url}: {type(error).__name__}",
            action="python3 run.py serve, or --url",
        )
        return
    ready = answer.status_code == 200
    yield Finding(
        what="API",
        health=Health.OK if ready else Health.FAIL,
        found=f"{url}: {'ready' if ready else f'status {answer.status_code}'}",
        action="" if ready else "look at the server's log: an actor may be restarting",
    )
    if "date" in answer.headers:
        yield clock(parsedate_to_datetime(answer.headers["date"]).timestamp())


def clock(theirs: float) -> Finding:
    off = time.time() - theirs
    wrong = abs(off) > CLOCK_S
    return Finding(
        what="clock",
        health=Health.WARN if wrong else Health.OK,
        found=f"{off:+.0f} s against the server's",
        action="set it: signatures are good for 60 s" if wrong else "",
    )


COLOURS = {Health.OK: "green", Health.WARN: "yellow"}


def show(diagnosis: Diagnosis) -> None:
    table = Table("what", "health", "found", "to do")
    for each in diagnosis.findings:
        colour = COLOURS.get(each.health, "red")
        table.add_row(each.what, f"[{colour}]{each.health}[/{colour}]", each.found, each.action)
    out.print(table)
