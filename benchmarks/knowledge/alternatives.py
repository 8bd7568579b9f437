"""What else one could do for a client with a profile: each trains really, on the same data.

All of them choose among the shapes whose sizes fit by the family's table, and none of them knows
latencies before it measures. One is met where all that it measured is within the limits.
"""

from collections.abc import Callable, Iterable, Iterator

from benchmarks.knowledge import rivals
from benchmarks.knowledge.families import central
from benchmarks.knowledge.play import MAX_ROUNDS, Ended, Seat
from edge_sim.baselines import narrowed, quantise
from edge_sim.wrist.central import BATCH, train_central
from stillhouse.chunks import chunks_for
from stillhouse.compress.arch import Network, build, load_state, to_safetensors, weights_of
from stillhouse.compress.importance import sort_by_magnitude
from stillhouse.edge.train import train
from stillhouse.entities import (
    DistillationMetric,
    ProfileSpec,
    Student,
    StudentFacts,
    TrainingRecipe,
    Verdict,
    VerdictKind,
)
from stillhouse.limits import accuracy_floor, missed

SHRINKING = 4  # rounds of those that train and then shrink
WHOLE_BITS = (8, 4)  # of the central model where it is only quantised

Play = Callable[[Seat, ProfileSpec], Ended]
Candidates = Iterator[tuple[Student, bytes]]


def quantise_only(seat: Seat, spec: ProfileSpec) -> Ended:
    """The central model itself, its weights rounded to 8 bits, then to 4; trained nowhere."""

    def candidates() -> Candidates:
        for bits in WHOLE_BITS:
            whole = seat.whole.model_copy(update={"bits": bits})
            if seat.storage_bytes(whole) <= spec.storage_bytes:
                model = central(seat.built.task)
                quantise(model, seat.built.task.spec.architecture, bits)
                yield whole, to_safetensors(model)

    return tried(seat, spec, candidates())


def pruned_by_magnitude(seat: Seat, spec: ProfileSpec) -> Ended:
    """Channels with the least weights pruned, the same share everywhere, then hard labels."""
    model = central(seat.built.task)
    sort_by_magnitude(model)
    values, architecture = weights_of(model), seat.card.architecture

    def candidates() -> Candidates:
        for student in shrinking(seat, spec):
            small = build(architecture, student)
            corners = {
                name: values[name][tuple(map(slice, value.shape))]
                for name, value in weights_of(small).items()
            }
            yield student, with_hard_labels(seat, student, load_state(small, corners))

    return tried(seat, spec, candidates())


def scratch(seat: Seat, spec: ProfileSpec) -> Ended:
    """A small net from random weights by the owner's recipe, on the private labels alone."""
    recipe, pre = seat.built.family.table.training, seat.card.preprocessing
    windows = len(seat.client.train.windows(pre)[1])
    epochs = max(1, round(recipe.steps / max(1, windows // BATCH)))

    def candidates() -> Candidates:
        for student in shrinking(seat, spec):
            narrow = narrowed(seat.card.architecture, student)
            if windows < BATCH:  # not one whole batch: it stays as random as it is
                model: Network = build(narrow).eval()
            else:
                model = train_central(narrow, seat.client.train, pre, seat.seed, epochs=epochs)
            quantise(model, narrow, student.bits)
            yield student, to_safetensors(model)

    return tried(seat, spec, candidates())


def random_search(seat: Seat, spec: ProfileSpec) -> Ended:
    """Students of the family drawn among those that fit."""
    return proposed(seat, spec, rivals.at_random)


def flat_bayesian(seat: Seat, spec: ProfileSpec) -> Ended:
    """Students of the family by constrained Bayesian optimisation that knows no table."""
    return proposed(seat, spec, rivals.bayesian)


def proposed(seat: Seat, spec: ProfileSpec, rival: rivals.Rival) -> Ended:
    """Trained as the product trains them."""
    table, reports = seat.built.family.table, list[DistillationMetric]()
    propose = rival(table, spec, seat.seed)

    def candidates() -> Candidates:
        while len(reports) < MAX_ROUNDS and (index := propose(reports)) is not None:
            student = table.rows[index].student
            recipe = TrainingRecipe(**table.training.model_dump(), seed=seat.seed)
            yield student, seat.train(student, recipe, chunks_for(table, student, public))

    public = len(seat.built.family.public)
    return tried(seat, spec, candidates(), reports)


ALTERNATIVES: dict[str, Play] = {
    "quantise_only": quantise_only,
    "pruned_by_magnitude": pruned_by_magnitude,
    "scratch": scratch,
    "random_search": random_search,
    "flat_bayesian": flat_bayesian,
}
# Without labels of classes nothing else trains.
FOR_EMBEDDINGS = ("quantise_only", "random_search", "flat_bayesian")


def alternatives(seat: Seat) -> dict[str, Play]:
    """Those that this kind of model allows."""
    names = FOR_EMBEDDINGS if seat.built.task.embeds else tuple(ALTERNATIVES)
    return {name: ALTERNATIVES[name] for name in names}


def tried(
    seat: Seat,
    spec: ProfileSpec,
    candidates: Iterable[tuple[Student, bytes]],
    reports: list[DistillationMetric] | None = None,
) -> Ended:
    """One after the other, each a round, until one measures within every limit; `reports` are
    where who proposes them reads what was measured."""
    table = seat.built.family.table
    floor = accuracy_floor(spec, table.registered_accuracy)
    ended = Ended(Verdict(kind=VerdictKind.BEST_EFFORT, why="none was within every limit"), 0, 0)
    ended.reports = ended.reports if reports is None else reports
    for round, (student, trained) in enumerate(candidates, 1):
        report = seat.measure(student, trained, spec, round)
        ended.rounds, ended.trained = round, trained
        ended.wire_bytes += seat.storage_bytes(student)
        ended.reports.append(report)
        if not missed(spec, floor, report):
            ended.verdict = Verdict(kind=VerdictKind.MET, why="measured", student=student)
            ended.tested = seat.tested(student, trained)
            break
    return ended


def with_hard_labels(seat: Seat, student: Student, model: Network) -> bytes:
    """Trained on the private labels alone, then rounded to the student's bits."""
    training = seat.built.family.table.training
    recipe = TrainingRecipe(**{**training.model_dump(), "public_share": 0.0}, seed=seat.seed)
    train(model, seat.client.train, seat.client.validation, seat.card.preprocessing, recipe)
    quantise(model, narrowed(seat.card.architecture, student), student.bits)
    return to_safetensors(model)


def shrinking(seat: Seat, spec: ProfileSpec) -> Iterator[Student]:
    """Uniformly: the same share of width and of depth, from the largest that fits."""
    rows = sorted(fitting(seat, spec), key=lambda row: -row.storage_bytes)
    deepest = max(row.student.depths for row in rows) if rows else ()
    found = []
    for row in rows:
        shares = [d / most for d, most in zip(row.student.depths, deepest, strict=True)]
        even = max(shares) == min(shares) and abs(shares[0] - row.student.width) < 0.34
        if even and row.student.bits == 8:
            found.append(row.student)
    yield from found[:SHRINKING]


def fitting(seat: Seat, spec: ProfileSpec) -> Iterator[StudentFacts]:
    """Rows whose sizes are within the limits, by the table."""
    table = seat.built.family.table
    return (table.rows[index] for index in rivals.fitting(table, spec))
