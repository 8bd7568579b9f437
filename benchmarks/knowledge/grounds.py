"""Grounds of really built families: their tables, this host's times, and people as far from the
table as clients were measured to lie when students were really trained on them.

Of each family a few students are trained on every client, and measured twice, on recordings that
trained nothing and are different: what both measurements say alike is true, the rest is chance.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.knowledge.families import FOLDER, Built, built, made_by
from benchmarks.knowledge.ground import Floats, Ground, Spread, people
from benchmarks.knowledge.play import Seat
from benchmarks.knowledge.tasks import Client, Task
from edge_sim.cache import Cache
from edge_sim.scenario import DeviceModel
from stillhouse.chunks import chunks_for
from stillhouse.compress.arch import Network, build, load_weights
from stillhouse.compress.measure import logits
from stillhouse.compress.recordings import Recordings
from stillhouse.edge.probe import host_calibration
from stillhouse.entities import Student, TrainingRecipe, digest_of

SAMPLE = 8  # students of a family that are trained on each client
MANY = 32  # sources of the test set: more of them are images, not people
ANY_DEVICE = DeviceModel(
    anchor_latency_ms=1.0,
    int8_gain=0.8,
    cache_bytes=1 << 20,
    memory_bytes=1 << 40,
    memory_factor=1.0,
)
Half = tuple[Recordings, Callable[[NDArray[np.int64]], Floats]]  # with the weight of each label


def calibrated(name: str, seed: int, spread: Spread) -> Ground:
    """The ground of a task's family, its people drawn by `spread`."""
    family = built(name, seed).family
    header, rows = family.header, family.table.rows

    def timed() -> Floats:
        host = host_calibration(header.architecture, header.preprocessing, header.grid.students())
        return np.array([host[row.student] for row in rows])

    return Ground(
        name=f"{name}-{seed}",
        table=family.table,
        accuracy=people(rows, spread, seed),
        host_ms=_kept("host", family.digest, timed),
    )


def sampled(name: str, seed: int) -> Floats:
    """[2, clients, students]: the accuracy of a few trained students less the table's; kept."""
    there = built(name, seed)
    return _kept("trained", there.family.digest, lambda: _trained(there))


def _trained(there: Built) -> Floats:
    rows = there.family.table.rows
    chosen = np.random.default_rng(there.task.seed).choice(len(rows), SAMPLE, replace=False)
    found = np.zeros((2, len(there.task.clients), SAMPLE))
    for place, client in enumerate(there.task.clients):
        seat = Seat(there, client, ANY_DEVICE, {}, there.task.seed)
        measured = halves(there.task, client)
        for index, row in enumerate(rows[at] for at in chosen):
            model = trained_student(there, seat, row.student, int(chosen[index]))
            for half, (recordings, weigh) in enumerate(measured):
                right = score(model, there, recordings, weigh)
                found[half, place, index] = right - row.accuracy
    return found


def trained_student(there: Built, seat: Seat, student: Student, seed: int) -> Network:
    """As a device trains it with the first delivery."""
    table = there.family.table
    recipe = TrainingRecipe(**table.training.model_dump(), seed=seed)
    chunks = chunks_for(table, student, len(there.family.public))
    trained = seat.train(student, recipe, chunks)
    return load_weights(build(there.family.header.architecture, student), trained).eval()


def score(
    model: Network, there: Built, recordings: Recordings, weigh: Callable[..., Floats]
) -> float:
    """The weighted share of windows that `model` gets right."""
    x, labels, _ = recordings.windows(there.task.spec.preprocessing)
    return float(np.average(logits(model, x).argmax(1) == labels, weights=weigh(labels)))


def halves(task: Task, client: Client) -> tuple[Half, Half]:
    """Two sets for one client. Where sources are images, its own are too few to measure by: the
    test set, weighted by how often the client has each class."""
    if len(np.unique(task.test.sources)) <= MANY:
        return (client.validation, np.ones_like), (client.test, np.ones_like)
    own = np.concatenate([each.labels for each in (client.train, client.validation, client.test)])
    share = np.bincount(own, minlength=int(task.test.labels.max()) + 1) / len(own)

    def weigh(labels: NDArray[np.int64]) -> Floats:
        each: Floats = share[labels] / np.bincount(labels, minlength=len(share))[labels]
        return each

    odd = np.arange(len(task.test)) % 2 == 1
    return (task.test.select(odd), weigh), (task.test.select(~odd), weigh)


def _kept(what: str, digest: str, make: Callable[[], Floats]) -> Floats:
    """An array of this family, made once by this code."""

    def packed() -> bytes:
        sink = io.BytesIO()
        np.save(sink, make(), allow_pickle=False)
        return sink.getvalue()

    key = digest_of([what, digest, *made_by(calibrated)])
    found: Floats = np.load(io.BytesIO(Cache(FOLDER).keep(what, key, packed)), allow_pickle=False)
    return found
