"""Side effects of a shard: started after the commit, at least once, each answers with a command.

`plan` and `decide` are Ray tasks without torch; `compress` goes to the chunk server that is the
pack's home, since the one who submits the compression task owns its result.
"""

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayTaskError

from actors.reading import Order
from actors.settings import CHUNK_SERVER, VAULT, ActorSettings
from stillhouse.brief import compress_order, plan_input
from stillhouse.commands import Decided, EffectFailed, Planned
from stillhouse.decisions import Effect, Request
from stillhouse.entities import SYSTEM
from stillhouse.events import JobMoved
from stillhouse.jobs import Kind
from stillhouse.planner import plan
from stillhouse.verdict import judge


def start(
    effect: Effect,
    read: Order,
    settings: ActorSettings,
    manager: Any,
) -> Any:
    """Start the effect on the cluster; its result comes to `manager.apply`. What stops it."""
    job = read.job
    if effect.kind == Kind.COMPRESS:
        node = job.graph[effect.node]
        order = compress_order(job, read.owner, read.held, node, read.previous_manifest)
        server = ray.get_actor(CHUNK_SERVER, settings.namespace)
        return server.prepare.remote(order, manager)
    vault = ray.get_actor(VAULT, settings.namespace)
    task = think.options(name=f"{effect.node} {effect.job_id}")
    return task.remote(effect, read, vault, manager)


def stop(task: Any, event: JobMoved, settings: ActorSettings) -> None:
    """Stop an effect whose result nobody wants any more."""
    if event.node.endswith(f".{Kind.COMPRESS}"):
        server = ray.get_actor(CHUNK_SERVER, settings.namespace)
        server.cancel.remote(event.job_id, event.node)  # others may want the same pack
    else:
        ray.cancel(task)


@ray.remote(num_cpus=0.1, max_retries=3)
def think(effect: Effect, read: Order, vault: Any, manager: Any) -> None:
    """`plan` or `decide`, away from the shard: no linear algebra in its mailbox."""
    job = read.job
    assert job.model is not None  # noqa: S101  nothing is planned before the model is pinned
    family_digest = job.model.family_digest

    def result() -> Planned | Decided:
        table: Any = ray.get(vault.table.remote(family_digest))
        place = (effect.job_id, effect.node, effect.attempt)
        round = job.round + 1 if effect.kind == Kind.PLAN else job.round
        known = (read.prior, read.held_before)
        given = plan_input(job, read.owner, read.held, table, round, *known)
        if effect.kind == Kind.PLAN:
            return Planned(*place, plan(given))
        return Decided(*place, judge(given))

    def failure(error: str) -> EffectFailed:
        return EffectFailed(effect.job_id, effect.node, effect.attempt, error)

    report(manager, f"{effect.job_id}/{effect.node}/{effect.attempt}", result, failure)


def report(
    actor: Any, place: str, result: Callable[[], Any], failure: Callable[[str], Any]
) -> None:
    """Send an effect's result, or what went wrong, to whose effect it is: that is its to judge."""
    try:
        command = result()
    except Exception as error:  # a task's failure is an answer too
        command = failure(said(error))
    key = f"{place}/{type(command).__name__}"
    ray.get(actor.apply.remote([Request(key, key, SYSTEM, command)]))


def said(error: Exception) -> str:
    """An error's name and words; of a task that another waited for, its own, not its traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return f"{type(cause).__name__}: {cause}"[:500]
