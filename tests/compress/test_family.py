"""A family: the same on every run, whole in its bytes, and honest in its table."""

import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import (
    GRID,
    RECIPE,
    REGISTERED,
    SPEC,
    build_tiny,
    central_weights,
    family,
    recordings,
)

from stillhouse.chunks import weights_chunks
from stillhouse.compress.container import Family, FamilyGrid
from stillhouse.compress.family import build_family
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.slices import weights_chunk
from stillhouse.errors import Invalid, VerificationFailed


def test_the_same_seed_gives_the_same_digest_and_another_seed_another() -> None:
    assert build_tiny().digest == family().digest
    assert build_tiny(seed=1).digest != family().digest


def test_a_family_is_read_back_from_its_bytes() -> None:
    again = Family.from_bytes(family().to_bytes())
    assert again.to_bytes() == family().to_bytes()
    assert again.table == family().table


def test_the_table_has_every_point_of_the_grid() -> None:
    table = family().table
    assert tuple(row.student for row in table.rows) == GRID.students()
    assert table.family_digest == family().digest
    assert (table.registered_accuracy, table.registered_accuracy_se) == REGISTERED
    assert table.classes == 3


def test_the_prior_rewards_agreement_and_stays_near_the_registered_accuracy() -> None:
    rows = family().table.rows
    best = max(row.agreement for row in rows)
    for row in rows:
        expected = REGISTERED[0] + 0.01 - 0.5 * (best - row.agreement)
        assert row.accuracy == pytest.approx(min(1, max(0, expected)))


def test_wire_bytes_are_those_of_the_chunks() -> None:
    for row in family().table.rows:
        chunks = weights_chunks(GRID.students(), row.student)
        assert row.wire_bytes == sum(len(weights_chunk(family(), recipe)) for recipe in chunks)


def test_every_cost_grows_with_the_student() -> None:
    rows = family().table.rows
    for small in rows:
        for large in rows:
            if small.student.within(large.student):
                for cost in ("wire_bytes", "storage_bytes", "memory_bytes", "macs", "parameters"):
                    assert getattr(small, cost) <= getattr(large, cost)


def test_probes_are_the_four_corners_of_the_shapes() -> None:
    shapes = [(s.width, *s.depths) for s in FamilyGrid().probes()]
    assert shapes == [(0.25, 1, 1), (0.25, 3, 3), (1, 1, 1), (1, 3, 3)]


def test_progress_grows_to_one() -> None:
    heard: list[float] = []
    grid = FamilyGrid(widths=(1,), depths=((1,), (1,)), bits=(8,))
    build_family(
        central_weights(),
        SPEC,
        recordings(1),
        recordings(2),
        REGISTERED,
        grid,
        seed=0,
        progress=heard.append,
        recipe=RECIPE,
    )
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1)


SOME = recordings(1)


@pytest.mark.parametrize(
    "training",
    [
        Recordings(SOME.samples[:, :2], SOME.spans, SOME.labels, SOME.sources),
        Recordings(SOME.samples, SOME.spans, SOME.labels + 1, SOME.sources),
        SOME.unlabelled(),
    ],
    ids=["other axes", "other labels", "no labels"],
)
def test_recordings_that_do_not_fit_the_model_are_refused_before_any_training(training) -> None:
    with pytest.raises(Invalid):
        build_family(central_weights(), SPEC, training, SOME, REGISTERED, GRID, seed=0)


def rewritten(**changes: object) -> bytes:
    """The family's bytes with another header."""
    data = family().to_bytes()
    (length,) = struct.unpack_from("<Q", data)
    document = json.loads(data[8 : 8 + length])
    header = json.loads(document["__metadata__"]["family"]) | changes
    document["__metadata__"]["family"] = json.dumps(header)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def test_rewriting_nothing_is_still_the_family() -> None:
    assert Family.from_bytes(rewritten()).digest == family().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": FamilyGrid().model_dump()},
        {"architecture": {"id": "resnet1d", "kwargs": {}}},
        {"architecture": {"id": "pickle", "kwargs": {}}},
        {"registered_accuracy": 2},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_that_contradicts_the_tensors_is_refused(changes) -> None:
    with pytest.raises(VerificationFailed):
        Family.from_bytes(rewritten(**changes))


@given(cut=st.integers(0, 40_000))
def test_a_truncated_family_is_refused(cut: int) -> None:
    data = family().to_bytes()
    with pytest.raises(VerificationFailed):
        Family.from_bytes(data[: min(cut, len(data) - 1)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_family_builds_on_a_gpu() -> None:
    assert build_tiny(device="cuda").table.rows[0].student == GRID.students()[0]
