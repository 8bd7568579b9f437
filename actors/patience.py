"""A call of a named actor, made again while the actor restarts: their keys make a repeat safe."""

import asyncio
import time
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from stillhouse.errors import Unavailable

POLL_S = 0.1
PATIENCE_S = 8.0  # for an actor that restarts


async def call(namespace: str, name: str, method: str, *arguments: Any) -> Any:
    """The actor's answer, or its own error; Unavailable if it stays away."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await getattr(ray.get_actor(name, namespace), method).remote(*arguments)
        except RayTaskError:
            raise  # the actor's own answer, which may be a ValueError too
        except (RayActorError, ValueError) as error:  # ValueError: none of that name yet
            if time.monotonic() > deadline:
                raise Unavailable(f"{name} does not answer") from error
            await asyncio.sleep(POLL_S)
