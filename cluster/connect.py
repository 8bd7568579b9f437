"""Attach to a Ray cluster, or start a local one with the settings that were measured to be right.

Ray is inside the trust boundary: whoever holds the cluster's token runs code. A cluster that is not
local is refused without token mode and a token file that only its owner can read.
"""

import atexit
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import ray
from pydantic import BaseModel, ConfigDict, Field

from cluster.ingress import FIRST_PORT, Ingress, environment, private_files
from cluster.private_files import check_private, write_file
from stillhouse.errors import Forbidden

ENVIRONMENT = {  # read by Ray's own processes, which inherit it
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
    "OMP_NUM_THREADS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class ClusterSettings(BaseModel):
    """Part of the one frozen tree of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None  # None starts a local cluster
    cpus: int = Field(default=8, ge=1)  # logical: control actors take none
    object_store_bytes: int = Field(default=512 << 20, ge=80 << 20)
    dashboard: bool = False
    log_to_driver: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """What we are connected to; our own ends with this process."""

    own: bool
    dashboard_url: str  # empty without a dashboard


def connect(
    settings: ClusterSettings, ingress: Ingress = "proxy", first_port: int = FIRST_PORT
) -> Cluster:
    """Attach or start; Forbidden for a cluster that runs already and whose token others could use.

    It is attached to where the settings or RAY_ADDRESS, as in a submitted job, say an address. A
    cluster that we start is made for the ingress; whoever deploys on another checks it.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    address = settings.address or os.environ.get("RAY_ADDRESS")
    if address:
        check_token()
        found = ray.init(
            address=address, log_to_driver=settings.log_to_driver, logging_level=logging.WARNING
        )
        end_on_sigterm()
        return Cluster(own=False, dashboard_url=found.dashboard_url or "")
    make_token()
    folder = Path(tempfile.mkdtemp(prefix="sh-"))  # short: sockets lie in it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update({**environment(ingress, first_port), **private_files(ingress, folder)})
    started = ray.init(
        address="local",
        num_cpus=settings.cpus,
        object_store_memory=settings.object_store_bytes,
        include_dashboard=settings.dashboard,
        log_to_driver=settings.log_to_driver,
        logging_level=logging.WARNING,
        labels={"tier": "cpu"},
        _temp_dir=str(folder / "r"),  # below a folder of 0700: Ray opens its own to all users
    )
    end_on_sigterm()
    return Cluster(own=True, dashboard_url=started.dashboard_url or "")


def end_on_sigterm() -> None:
    """SIGTERM unwinds this process, as Ctrl-C does: the handler of Ray prints a crash."""
    if threading.current_thread() is threading.main_thread():  # no other may install a handler
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def make_token() -> None:
    """A local cluster's token, if there is none: Ray would write it for everybody to read.

    Ray turns token mode on by itself in a cluster that it starts, unless RAY_AUTH_MODE says not to.
    """
    path = token_path()
    if not path.exists():
        write_file(path, secrets.token_hex(32).encode())
    path.chmod(0o600)


def check_token() -> None:
    """Forbidden unless token mode is on and the token is private."""
    if os.environ.get("RAY_AUTH_MODE") != "token":  # Ray reads it once, when it is imported
        raise Forbidden("a cluster that is not local needs RAY_AUTH_MODE=token")
    if "RAY_AUTH_TOKEN" not in os.environ:  # a token in the environment is in no file
        check_private(token_path())


def token_path() -> Path:
    """Where Ray looks for the cluster's token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
