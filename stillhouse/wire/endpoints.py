"""Where a deployment's API answers: asked of any endpoint, when another one was lost."""

from urllib.parse import urlsplit

import httpx2
from pydantic import ValidationError

from stillhouse.entities import Entity

PATH = "/endpoints"


class Endpoints(Entity):
    """Base URLs that answer now; the fixed one, which any replica is behind, comes last."""

    endpoints: tuple[str, ...]


def named_by(base: str, response: httpx2.Response | None) -> list[str]:
    """What the server at `base` names of its own host; none if it does not say.

    Another host is not believed: nobody vouched for it.
    """
    if response is None or response.status_code != 200:
        return []
    try:
        found = Endpoints.model_validate_json(response.content).endpoints
    except ValidationError:
        return []
    return [each for each in found if host_of(each) == host_of(base)]


def host_of(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname
