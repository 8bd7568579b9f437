"""Grounds of really trained families: every student measured on every person, and the host.

A person is whose recordings the test set has; where these are single images, a mix of classes.
"""

import io

import numpy as np
from numpy.typing import NDArray

from benchmarks.knowledge.families import FOLDER, Built, built, made_by
from benchmarks.knowledge.ground import Floats, Ground
from benchmarks.knowledge.tasks import Task
from edge_sim.cache import Cache
from stillhouse.compress.arch import build, load_state
from stillhouse.compress.measure import logits
from stillhouse.edge.probe import host_calibration
from stillhouse.entities import digest_of

FEW = 32  # more sources than this are images, not people
BEST = 0.995  # a few hundred windows without an error show no more
MIXES, CONCENTRATION = 20, 0.3  # people who are mixes of classes, Dirichlet


def trained(name: str, seed: int) -> Ground:
    """The ground of a task's family; measured once and kept."""
    there = built(name, seed, lambda _: None)
    key = digest_of(["ground", there.family.digest, *made_by(accuracies)])
    measured = Cache(FOLDER).keep("ground", key, lambda: packed(accuracies(there)))
    header = there.family.header
    host = host_calibration(header.architecture, header.preprocessing, header.grid.students())
    return Ground(
        name=f"{name}-{seed}",
        table=there.family.table,
        accuracy=np.minimum(np.load(io.BytesIO(measured), allow_pickle=False), BEST),
        host_ms=np.array([host[row.student] for row in there.family.table.rows]),
    )


def packed(array: Floats) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def accuracies(there: Built) -> Floats:
    """[people, students], as received, on recordings that built nothing."""
    task, family = there.task, there.family
    x, labels, owner = task.test.windows(task.spec.preprocessing)
    weights = people(task, labels, task.test.sources[owner])
    columns = []
    for row in family.table.rows:
        state = family.weights(row.student) | dict(family.statistics[row.student])
        model = load_state(build(family.header.architecture, row.student), state).eval()
        columns.append(weights @ (logits(model, x).argmax(1) == labels))
    found: Floats = np.stack(columns, axis=1)
    return found


def people(task: Task, labels: NDArray[np.int64], sources: NDArray[np.int64]) -> Floats:
    """[people, windows]: what share of a person each window is."""
    each = np.unique(sources)
    if len(each) <= FEW:
        own = (sources == each[:, None]).astype(float)
    else:
        classes = np.unique(labels)
        mix = np.random.default_rng(task.seed).dirichlet([CONCENTRATION] * len(classes), MIXES)
        counts = (labels == classes[:, None]).sum(axis=1)
        own = (mix / counts)[:, np.searchsorted(classes, labels)]
    shares: Floats = own / own.sum(axis=1, keepdims=True)
    return shares
