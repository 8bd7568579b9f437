"""Rounds: which jobs each result puts into the graph. A job that isn't needed is never created."""

from stillhouse.entities import Action, Plan
from stillhouse.jobs import Job, Kind


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


def round_of(node: str) -> int:
    """The round that a node belongs to; 0 before the first."""
    return int(node[1 : node.index(".")]) if "." in node else 0


def _measuring(here: str, parents: tuple[str, ...]) -> tuple[Job, ...]:
    measure = Job(f"{here}.measure", Kind.MEASURE, parents)
    return (measure, Job(f"{here}.decide", Kind.DECIDE, (measure.id,)))
