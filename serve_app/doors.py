"""Where the API listens: the fixed port and, with direct ingress, each replica's own."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.serve.context import _get_global_client as serve_client  # no public call tells the ports

from actors.settings import ActorSettings
from stillhouse.errors import Forbidden

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ANSWER_S = 2.0
Where = Callable[[], Awaitable[tuple[str, ...]]]


def check_ingress(actors: ActorSettings) -> None:
    """Forbidden where requests or pages would be on a network without anything before them."""
    if actors.ingress == "direct" and actors.host not in LOOPBACK:
        raise Forbidden("replicas' own ports have no TLS: off loopback, take ingress: haproxy")
    if actors.ingress == "haproxy" and not actors.behind_tls:
        raise Forbidden(
            "HAProxy's statistics and metrics pages (ports 8404 and 9101) listen on every interface"
            " and it ends no TLS: put TLS and a firewall in front and set behind_tls: true"
        )


class Doors:
    """The base URLs of one application, as Serve's controller knows them."""

    fresh_s = 1.0  # how old its answer may be: anybody may ask for it

    def __init__(self, name: str, fixed: str, prefix: str, actors: ActorSettings) -> None:
        self._name, self._fixed, self._prefix, self._actors = name, fixed, prefix, actors
        self._replicas: list[str] = []
        self._asked_at = -math.inf
        self._asking = asyncio.Lock()

    async def urls(self) -> tuple[str, ...]:
        """Those of the replicas, another one first each time, then the fixed one."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= self.fresh_s:
                with suppress(RayError):  # no controller for a moment: its last word is the best
                    self._replicas = await asyncio.to_thread(self.ask)
                self._asked_at = time.monotonic()
            self._replicas = [*self._replicas[1:], *self._replicas[:1]]
        return (*self._replicas, self._fixed)

    def ask(self) -> list[str]:
        """The replicas that run now."""
        if not (ports := self._actors.replica_ports):
            return []
        client: Any = serve_client()
        asked = client._controller.get_target_groups.remote(app_name=self._name)
        groups = ray.get(asked, timeout=ANSWER_S)
        found = {target.port for group in groups for target in group.targets}
        # an application without a running replica is said to be at the proxy's port
        there = sorted(port for port in found if port in ports)
        return [f"http://{self._actors.host}:{port}{self._prefix}" for port in there]
