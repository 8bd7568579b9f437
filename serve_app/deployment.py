"""The API as a Ray Serve application: two stateless replicas, behind a proxy or beside one."""

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.context import _get_global_client as serve_client  # no public call tells the port

from actors.keyring import Keyring
from actors.settings import ActorSettings
from cluster.ingress import check_environment, check_running
from serve_app.app import create_app
from serve_app.backend import RayBackend
from serve_app.doors import LOOPBACK, Doors, check_ingress
from stillhouse.errors import Conflict, Forbidden


class ApiSettings(BaseModel):
    """Arguments of the application; `serve deploy` takes them from its YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "stillhouse"  # of the application: the cluster's Serve may have others
    route_prefix: str = "/"
    actors: ActorSettings = ActorSettings()
    replicas: int = Field(default=2, ge=1)
    open_enrolment: bool = False  # True: development mode, refused off loopback

    @property
    def url(self) -> str:
        """The base URL, as a client is told it."""
        return f"http://{self.actors.host}:{self.actors.api_port}{self.prefix}"

    @property
    def prefix(self) -> str:
        return self.route_prefix.rstrip("/")

    @property
    def doors(self) -> Doors:
        """Asks where it listens beside that."""
        return Doors(self.name, self.url, self.prefix, self.actors)


def check(settings: ApiSettings) -> None:
    """Forbidden where anyone who reaches the port could enrol, or nothing guards it."""
    check_ingress(settings.actors)
    if settings.open_enrolment and settings.actors.host not in LOOPBACK:
        raise Forbidden("enrolment without tokens is for loopback alone: set open_enrolment=false")


@serve.ingress()
class Api:
    """A replica: all it does is in the ASGI application that it builds at its start.

    It refuses to start on a cluster that was made for another ingress.
    """

    def __init__(self, settings: ApiSettings) -> None:
        check_environment(settings.actors.ray_environment, os.environ)
        self._settings = settings

    def __serve_build_asgi_app__(self) -> Any:
        settings, actors = self._settings, self._settings.actors
        api = create_app(
            RayBackend(actors),
            Keyring(actors).find,
            actors.authorities,
            open_enrolment=settings.open_enrolment,
            where=settings.doors.urls,
        )
        return Mounted(api)


class Mounted:
    """ASGI middleware: what is matched and verified is the path behind the route prefix."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if root := scope.get("root_path", ""):
            raw: bytes = scope.get("raw_path") or scope["path"].encode()
            below = {
                "path": scope["path"].removeprefix(root),
                "raw_path": raw.removeprefix(root.encode()),
            }
            scope = {**scope, "root_path": "", **below}
        await self._app(scope, receive, send)


def app(args: ApiSettings) -> serve.Application:
    """The application builder that `configs/serve.yaml` names."""
    check(args)
    configured: Any = serve.deployment(
        name="Api",
        num_replicas=args.replicas,
        max_ongoing_requests=1000,  # the default of 5 lets a few half-sent bodies stop the service
        ray_actor_options={"num_cpus": 0},
    )
    application: serve.Application = configured(Api).bind(args)
    return application


def run(settings: ApiSettings) -> str:
    """Deploy on the connected cluster and wait until it answers; the base URL.

    Conflict where Serve runs already and listens elsewhere, or the cluster was started for another
    ingress: it would ignore ours.
    """
    wanted = (settings.actors.host, settings.actors.api_port)
    found = listener()
    if found not in (None, wanted):
        raise Conflict(f"Serve listens at {found} on this cluster already, not at {wanted}")
    check_running(settings.actors.ray_environment)
    serve.start(http_options={"host": wanted[0], "port": wanted[1]})
    serve.run(app(settings), name=settings.name, route_prefix=settings.route_prefix)
    return settings.url


def listener() -> tuple[str, int] | None:
    """Host and port of the proxy that listens on the connected cluster; None if no Serve runs."""
    client = serve_client(raise_if_no_controller_running=False)
    return (client.http_config.host, client.http_config.port) if client else None


def remove(settings: ApiSettings) -> None:
    """Take the application off Serve, and Serve off the cluster if nothing else is on it."""
    if listener() is None:
        return
    serve.delete(settings.name)
    if not serve.status().applications:
        serve.shutdown()  # type: ignore[no-untyped-call]
