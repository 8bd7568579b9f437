"""Rough handling: kill -9 of one process of each kind, each at a seeded moment of a run.

A moment is counted in what devices do, not in seconds: a kill hits while there is work. The victim
is the one that the work depends on: the shard and the host of the device that was just heard of, a
worker that is compressing, an API replica. Only processes that this run started are ever killed.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import ray

from actors.start import Wiring
from stillhouse.entities import Entity
from stillhouse.ids import shard_of

TASK_PERIOD_S = 0.01  # between two looks at workers: a compression may be short
PERIOD_S = 0.05  # between two looks at the devices
ANSWER_S = 5.0  # for a host to say what its devices do
PATIENCE_S = 20.0  # for a killed process to be replaced
NOBODY = 0  # no process


class Victim(StrEnum):
    """A kind of process that may be killed."""

    JOB_MANAGER = "job_manager"
    API_REPLICA = "api_replica"
    CHUNK_SERVER = "chunk_server"
    WORKER = "worker"
    DEVICE = "device"


MOMENTS: Mapping[Victim, re.Pattern[str]] = {  # what a device must be heard of; a worker: its task
    Victim.JOB_MANAGER: re.compile(r"\.(transfer|train|measure)"),
    Victim.API_REPLICA: re.compile(r"\.(transfer|train|measure)"),
    Victim.CHUNK_SERVER: re.compile(r"\.transfer"),
    Victim.DEVICE: re.compile(r"\.(transfer|train)"),
    Victim.WORKER: re.compile(r"^ray::compress"),
}
REPLICA = "ray::ServeReplica:{app}:Api"  # titles that Ray gives its processes
WORKER = "ray::compress"


class Kill(Entity):
    """A kill that happened; `back_after_s` is None where no successor was seen."""

    victim: Victim
    pid: int
    moment: str
    back_after_s: float | None


@dataclass(frozen=True, slots=True)
class Planned:
    """Kill a victim once its moment has come this many times."""

    victim: Victim
    count: int


@dataclass(frozen=True, slots=True)
class Target:
    """The process to kill, and what answers with its successor's id, or NOBODY."""

    pid: int
    successor: Callable[[], int]


def plan(seed: int, devices: int, victims: Sequence[Victim] = tuple(Victim)) -> tuple[Planned, ...]:
    """One kill of each kind; the moment is drawn among as many as the run surely has."""
    rng = np.random.default_rng(seed)
    counts = {victim: 1 + int(rng.integers(max(1, devices // 4))) for victim in Victim}
    return tuple(Planned(victim, counts[victim]) for victim in victims)


class Chaos:
    """Threads that listen to the devices and workers of a run, and carry out a plan.

    One kill at a time, but for a worker's. `hosts` may grow; `app` is the API's name at Serve.
    """

    def __init__(
        self,
        planned: Sequence[Planned],
        wiring: Wiring,
        hosts: Mapping[str, Any],
        app: str = "stillhouse",
    ) -> None:
        self._open = list(planned)
        self._wiring, self._hosts, self._app = wiring, hosts, app
        self._heard: dict[int, int] = {}  # by host process: news that were counted
        self._counts = dict.fromkeys(Victim, 0)
        self._tasks: set[str] = set()
        self._kills: list[Kill] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=each, name="chaos", daemon=True)
            for each in (self._watch_devices, self._watch_workers)
        ]

    def __enter__(self) -> Self:
        for host in self._hosts.values():
            self._news(host)  # what was before is no moment of ours
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    @property
    def kills(self) -> tuple[Kill, ...]:
        return tuple(self._kills)

    @property
    def missed(self) -> tuple[Victim, ...]:
        """Whose moment has not come."""
        return tuple(planned.victim for planned in self._open)

    def _watch_devices(self) -> None:
        while self._open and not self._over.wait(PERIOD_S):
            for host in list(self._hosts.values()):
                for client_id, doing in self._news(host):
                    self._count(doing, partial(self._of, client_id, host))

    def _watch_workers(self) -> None:
        """A task is news when it first runs; none compresses before a device was heard of."""
        while Victim.WORKER in self.missed and not self._over.wait(TASK_PERIOD_S):
            if not any(self._heard.values()):
                continue
            for task in {title(each) for each in own_processes()} - self._tasks:
                if task.startswith(WORKER):
                    self._tasks.add(task)
                    self._count(task, partial(self._of, task, None))

    def _news(self, host: Any) -> Sequence[tuple[str, str]]:
        """What this host's devices did since the last time; nothing while it restarts."""
        try:
            heard = ray.get(host.heard.remote(), timeout=ANSWER_S)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
            return ()
        known = self._heard.get(heard.pid, 0)
        self._heard[heard.pid] = len(heard.news)
        return heard.news[known:]  # type: ignore[no-any-return]

    def _count(self, news: str, find: Callable[[Victim], Target | None]) -> None:
        """Kill whoever's moment this is."""
        for victim in [each for each in Victim if MOMENTS[each].search(news)]:
            self._counts[victim] += 1
            for planned in [each for each in self._open if each.victim is victim]:
                target = find(victim) if self._counts[victim] >= planned.count else None
                if target is not None:
                    self._open.remove(planned)
                    self._kill(victim, target, news)

    def _kill(self, victim: Victim, target: Target, moment: str) -> None:
        began = time.monotonic()
        os.kill(target.pid, signal.SIGKILL)
        back_after_s = None
        while back_after_s is None and time.monotonic() - began < PATIENCE_S:
            if target.successor() not in (NOBODY, target.pid):
                back_after_s = time.monotonic() - began
            time.sleep(TASK_PERIOD_S)
        kill = Kill(victim=victim, pid=target.pid, moment=moment, back_after_s=back_after_s)
        self._kills.append(kill)

    def _of(self, who: str, host: Any, victim: Victim) -> Target | None:
        """The process that the work of a client (or a task, by its title) depends on."""
        match victim:
            case Victim.JOB_MANAGER:
                managers = self._wiring.managers
                return actor(managers[shard_of(who, len(managers))])
            case Victim.CHUNK_SERVER:
                return actor(self._wiring.chunk_server)
            case Victim.DEVICE:
                return actor(host)
            case Victim.WORKER:
                return process(who)
            case Victim.API_REPLICA:
                return process(REPLICA.format(app=self._app))


def told(kills: Sequence[Kill], missed: Sequence[Victim], sent_again: int) -> list[str]:
    """What the kills were and what they cost, in words."""
    lines = [
        f"killed {kill.victim} (process {kill.pid}) at {kill.moment}: "
        + (f"back after {kill.back_after_s:.1f} s" if kill.back_after_s else "no successor seen")
        for kill in kills
    ]
    lines += [f"not killed, its moment did not come: {victim}" for victim in missed]
    return [*lines, f"chunks sent again: {sent_again}, kills: {len(kills)}"]


def actor(handle: Any) -> Target | None:
    """An actor's process; its successor answers as soon as it has its state back."""

    def pid() -> int:
        try:
            return int(ray.get(handle.ready.remote(), timeout=PATIENCE_S))
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
            return NOBODY

    now = pid()
    known = psutil.pid_exists(now) and title(psutil.Process(now)).startswith("ray::")  # here
    return Target(now, pid) if known else None


def process(name: str) -> Target | None:
    """A process of this run that does what its title says; None if there is none now."""

    def running() -> set[int]:
        return {each.pid for each in own_processes() if title(each).startswith(name)}

    before = running()
    return Target(min(before), lambda: max(running() - before, default=NOBODY)) if before else None


def own_processes() -> list[psutil.Process]:
    """What this process started, and what that did: the cluster of this run."""
    return psutil.Process().children(recursive=True)


def title(found: psutil.Process) -> str:
    try:
        return " ".join(found.cmdline()).strip()
    except psutil.Error:  # it has ended meanwhile
        return ""
