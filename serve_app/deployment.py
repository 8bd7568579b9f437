"""The API as a Ray Serve application: two stateless replicas behind one proxy."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from actors.keyring import Keyring
from actors.settings import ActorSettings
from serve_app.app import create_app
from serve_app.backend import RayBackend
from stillhouse.errors import Forbidden

LOOPBACK = ("127.0.0.1", "::1", "localhost")
NAME = "stillhouse"


class ApiSettings(BaseModel):
    """Arguments of the application; `serve deploy` takes them from its YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actors: ActorSettings = ActorSettings()
    replicas: int = Field(default=2, ge=1)
    open_enrolment: bool = False  # True: development mode, refused off loopback


def check(settings: ApiSettings) -> None:
    """Forbidden where anyone who reaches the port could enrol."""
    if settings.open_enrolment and settings.actors.host not in LOOPBACK:
        raise Forbidden("enrolment without tokens is for loopback alone: set open_enrolment=false")


@serve.ingress()
class Api:
    """A replica: all it does is in the ASGI application that it builds at its start."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> Any:
        actors, open_enrolment = self._settings.actors, self._settings.open_enrolment
        find = Keyring(actors).find
        return create_app(
            RayBackend(actors), find, actors.authorities, open_enrolment=open_enrolment
        )


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
    """Deploy on the connected cluster and wait until it answers; the base URL."""
    http = {"host": settings.actors.host, "port": settings.actors.api_port}
    serve.start(http_options=http)
    serve.run(app(settings), name=NAME, route_prefix="/")
    return f"http://{settings.actors.host}:{settings.actors.api_port}"
