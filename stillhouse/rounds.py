"""Rounds: which jobs each result puts into the graph. A job that isn't needed is never created."""

from itertools import count, takewhile

from stillhouse.entities import Action, Plan
from stillhouse.jobs import Graph, Job, Kind, State


def opening() -> tuple[Job, ...]:
    return (Job("await_model", Kind.AWAIT_MODEL),)


def first_round(calibrated: bool) -> tuple[Job, ...]:
    """The first plan; before it a probe, unless the device's calibration is known."""
    if calibrated:
        return (Job("r1.plan", Kind.PLAN, ("await_model",)),)
    probe = Job("probe", Kind.PROBE, ("await_model",))
    return (probe, Job("r1.plan", Kind.PLAN, (probe.id,)))


def next_round(finished: int) -> tuple[Job, ...]:
    """The plan of the round after `finished`, which depends on its measurement and judgement."""
    parents = (f"r{finished}.measure", f"r{finished}.decide")
    return (Job(f"r{finished + 1}.plan", Kind.PLAN, parents),)


def after_plan(plan: Plan) -> tuple[Job, ...]:
    """What the plan needs next: new bytes, only training, or only another measurement."""
    here = f"r{plan.round}"
    match plan.action:
        case Action.DELIVER:
            return (Job(f"{here}.compress", Kind.COMPRESS, (f"{here}.plan",)),)
        case Action.TRAIN:
            train = Job(f"{here}.train", Kind.TRAIN, (f"{here}.plan",))
            return (train, *_measuring(here, (train.id,)))
        case Action.MEASURE:
            return _measuring(here, (f"{here}.plan",))


def after_manifest(round: int, chunks: int, train_after: int) -> tuple[Job, ...]:
    """All transfers in a chain, and training once enough of them is there."""
    here = f"r{round}"
    before = [f"{here}.compress", *(transfer_id(round, index) for index in range(chunks))]
    transfers = tuple(
        Job(transfer_id(round, index), Kind.TRANSFER, (before[index],)) for index in range(chunks)
    )
    train = Job(f"{here}.train", Kind.TRAIN, (transfer_id(round, train_after),))
    last = transfers[-1].id
    return (*transfers, train, *_measuring(here, (train.id, last)))


def transfer_id(round: int, index: int) -> str:
    return f"r{round}.transfer.{index}"


def transfer(graph: Graph, round: int, index: int) -> Job | None:
    """The transfer of a delivery's chunk; None for a chunk that it does not have."""
    return graph.get(transfer_id(round, index))


def acknowledged(graph: Graph, round: int) -> int:
    """How many chunks of the round's delivery the device has acknowledged: in order, from 0."""
    nodes = (transfer(graph, round, index) for index in count())
    return sum(1 for _ in takewhile(lambda node: node and node.state is State.SUCCEEDED, nodes))


def kind_of(node: str) -> Kind:
    """What a node does, by its id."""
    return Kind(node.split(".")[1] if "." in node else node)


def round_of(node: str) -> int:
    """The round that a node belongs to; 0 before the first."""
    return int(node[1 : node.index(".")]) if "." in node else 0


def _measuring(here: str, parents: tuple[str, ...]) -> tuple[Job, ...]:
    measure = Job(f"{here}.measure", Kind.MEASURE, parents)
    return (measure, Job(f"{here}.decide", Kind.DECIDE, (measure.id,)))
