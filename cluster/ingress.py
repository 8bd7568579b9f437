"""How requests reach the API's replicas; Ray's processes read it from their environment.

proxy: one Serve proxy on the fixed port hands every request on; simple, about 5 ms of CPU each.
direct: each replica listens on a port of its own too, which dies with it; on loopback alone.
haproxy: HAProxy takes the proxy's place. Its statistics and metrics pages (8404, 9101) listen on
every interface whatever the host is, and it has no TLS: something must stand in front.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import ray

from stillhouse.errors import Conflict

Ingress = Literal["proxy", "direct", "haproxy"]
FIRST_PORT = 30000
REPLICA_PORTS = 100  # also for those whose predecessors' ports are not free again yet
HEAD = "node:__internal_head__"  # a resource that only the head node has


def environment(ingress: Ingress, first_port: int) -> dict[str, str]:
    """What Ray's processes must find in theirs before they start."""
    if ingress == "proxy":
        return {}
    ports = {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_port + REPLICA_PORTS),
    }
    direct = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", **ports}
    if ingress == "direct":
        # clients go to the next endpoint by themselves: nothing waits for a balancer to notice
        quick = ("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "RAY_SERVE_PORT_QUARANTINE_S")
        return {**direct, **dict.fromkeys(quick, "0")}
    # HAProxy's old workers, which check no health, keep their list of ports: quarantine stays
    drain = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2"}
    return {**direct, **drain, "RAY_SERVE_ENABLE_HA_PROXY": "1"}


def private_files(ingress: Ingress, folder: Path) -> dict[str, str]:
    """HAProxy's own places, which two clusters of one machine must not share."""
    if ingress != "haproxy":
        return {}
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def check_running(wanted: Mapping[str, str]) -> None:
    """Conflict where the connected cluster's head was started without these variables."""
    if not wanted:
        return
    on_head = ray.remote(num_cpus=0, resources={HEAD: 0.001})(those_of)
    found = ray.get(on_head.remote(list(wanted)))
    check_environment(wanted, found)


def check_environment(wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """The same of a process's environment."""
    missing = [f"{name}={value}" for name, value in wanted.items() if found.get(name) != value]
    if missing:
        raise Conflict(f"start this cluster with {' '.join(missing)}, or set ingress: proxy")


def those_of(names: list[str]) -> dict[str, str]:
    """Of this process's environment, these."""
    return {name: os.environ[name] for name in names if name in os.environ}
