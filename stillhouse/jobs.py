"""The job graph of one distillation job: which jobs wait, are ready, run or are over.

Pure and immutable: `move` looks a move up in one table keyed by (state, event) and gives back the
moved job; what is not in the table is an IllegalMove and nothing happens. A job may name only
parents that are already in the graph, so the graph cannot hold a cycle and needs no check for one.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from stillhouse.entities import Word
from stillhouse.errors import IllegalMove, NotFound


class Kind(Word):
    """What a node of the graph does."""

    AWAIT_MODEL = "await_model"
    PROBE = "probe"
    PLAN = "plan"
    COMPRESS = "compress"
    TRANSFER = "transfer"
    TRAIN = "train"
    MEASURE = "measure"
    DECIDE = "decide"


ON_CLUSTER = frozenset({Kind.PLAN, Kind.COMPRESS, Kind.DECIDE})
ON_DEVICE = frozenset({Kind.PROBE, Kind.TRANSFER, Kind.TRAIN, Kind.MEASURE})


class State(Word):
    """Where a node stands."""

    BLOCKED = "BLOCKED"  # waits for a parent, or for a named central model
    READY = "READY"  # waits for its turn on the cluster, or for the pause after a failed attempt
    RUNNING = "RUNNING"  # an effect of the cluster
    WAITING_CLIENT = "WAITING_CLIENT"  # under a lease that progress renews
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"  # an ancestor failed
    CANCELLED = "CANCELLED"


class Move(Word):
    """What can happen to a node."""

    RELEASE = "release"
    QUEUE = "queue"  # the pause after a failed attempt is over
    START = "start"
    OFFER = "offer"
    RENEW = "renew"
    SUCCEED = "succeed"
    RETRY = "retry"
    FAIL = "fail"
    SKIP = "skip"
    CANCEL = "cancel"
    REPLAY = "replay"  # an operator gives a failed effect another chance


MOVES = {  # every legal move
    (State.BLOCKED, Move.RELEASE): State.READY,
    (State.BLOCKED, Move.SKIP): State.SKIPPED,
    (State.BLOCKED, Move.CANCEL): State.CANCELLED,
    (State.READY, Move.QUEUE): State.READY,
    (State.READY, Move.START): State.RUNNING,
    (State.READY, Move.OFFER): State.WAITING_CLIENT,
    (State.READY, Move.SUCCEED): State.SUCCEEDED,  # await_model: nothing runs, the model is there
    (State.READY, Move.CANCEL): State.CANCELLED,
    (State.RUNNING, Move.RENEW): State.RUNNING,
    (State.RUNNING, Move.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Move.RETRY): State.READY,
    (State.RUNNING, Move.FAIL): State.FAILED,
    (State.RUNNING, Move.CANCEL): State.CANCELLED,
    (State.WAITING_CLIENT, Move.RENEW): State.WAITING_CLIENT,
    (State.WAITING_CLIENT, Move.SUCCEED): State.SUCCEEDED,
    (State.WAITING_CLIENT, Move.RETRY): State.READY,
    (State.WAITING_CLIENT, Move.FAIL): State.FAILED,
    (State.WAITING_CLIENT, Move.CANCEL): State.CANCELLED,
    (State.FAILED, Move.REPLAY): State.READY,
}
OVER = frozenset({State.SUCCEEDED, State.FAILED, State.SKIPPED, State.CANCELLED})


class Job(NamedTuple):
    """A node: its place in the graph, and the state with the reason for it.

    A tuple, since nodes are what a transition copies and writes.
    """

    id: str  # "r2.transfer.0": the round, the kind, and which
    kind: Kind
    parents: tuple[str, ...] = ()
    state: State = State.BLOCKED
    cause: str = ""
    since: float = 0.0  # seconds since the epoch
    attempt: int = 0  # counts starts and offers
    until: float | None = None  # when the lease ends, or the pause before the next attempt


Graph = Mapping[str, Job]


def add(graph: Graph, jobs: tuple[Job, ...]) -> Graph:
    """The graph with `jobs` in it; each may name only parents that are there before it."""
    grown = dict(graph)
    for job in jobs:
        if job.id in grown:
            raise IllegalMove(f"job {job.id} exists already")
        for parent in job.parents:
            get(grown, parent)
        grown[job.id] = job
    return grown


def get(graph: Graph, id: str) -> Job:
    try:
        return graph[id]
    except KeyError:
        raise NotFound(f"no job {id} in this graph") from None


def move(
    graph: Graph, id: str, event: Move, cause: str, at: float, until: float | None = None
) -> Graph:
    """The graph after `event` happened to `id`; IllegalMove if it cannot happen to it now."""
    return {**graph, id: moved(graph, id, event, cause, at, until)}


def moved(
    graph: Graph, id: str, event: Move, cause: str, at: float, until: float | None = None
) -> Job:
    """The job `id` after `event` happened to it; IllegalMove if it cannot happen to it now."""
    job = get(graph, id)
    to = MOVES.get((job.state, event))
    if to is None:
        raise IllegalMove(f"job {id} is {job.state}: cannot {event}")
    attempt = job.attempt + (event is Move.START or event is Move.OFFER)
    return Job(id, job.kind, job.parents, to, cause, at, attempt, until)


def releasable(graph: Graph, after: str) -> list[Job]:
    """Jobs below `after` that wait for nothing any more."""
    return [job for job in graph.values() if after in job.parents and released(graph, job)]


def released(graph: Graph, job: Job) -> bool:
    """Whether it waits for nothing any more. `await_model` waits for a model, not for a parent."""
    return (
        job.state is State.BLOCKED
        and job.kind is not Kind.AWAIT_MODEL
        and all(graph[parent].state is State.SUCCEEDED for parent in job.parents)
    )


def doomed(graph: Graph) -> Iterator[Job]:
    """Blocked jobs below one that failed or was skipped, nearest first if asked again and again."""
    for job in graph.values():
        if job.state is State.BLOCKED:
            states = {graph[parent].state for parent in job.parents}
            if states & {State.FAILED, State.SKIPPED}:
                yield job


def unfinished(graph: Graph) -> Iterator[Job]:
    return (job for job in graph.values() if job.state not in OVER)
