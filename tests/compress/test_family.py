"""A family: the same on every run, whole in its bytes, and honest in its table."""

import json
import struct
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save
from tiny import (
    GRID,
    PRE,
    REGISTERED,
    SPEC,
    build_tiny,
    central_weights,
    family,
    recordings,
)

from stillhouse.compress.arch import build, load_state, to_safetensors
from stillhouse.compress.architectures import network
from stillhouse.compress.container import Family
from stillhouse.compress.family import build_family
from stillhouse.compress.measure import logits
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.slices import weights_chunk
from stillhouse.entities import (
    ArchitectureSpec,
    CentralModelSpec,
    FamilyGrid,
    FamilyRecipe,
    Preprocessing,
    WeightsRecipe,
)
from stillhouse.errors import Invalid, UnsupportedFormat, VerificationFailed


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
    assert table.outputs == 3


def test_the_prior_rewards_agreement_and_stays_near_the_registered_accuracy() -> None:
    rows = family().table.rows
    best = max(row.agreement for row in rows)
    for row in rows:
        expected = REGISTERED[0] + 0.01 - 0.5 * (best - row.agreement)
        assert row.accuracy == pytest.approx(min(1, max(0, expected)))


def test_wire_bytes_are_those_of_one_chunk() -> None:
    for row in family().table.rows:
        whole = WeightsRecipe(base=None, student=row.student)
        assert row.wire_bytes == len(weights_chunk(family(), whole))


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


def rewritten(without: Iterable[str] = (), **changes: object) -> bytes:
    """The family's bytes with another header."""
    data = family().to_bytes()
    (length,) = struct.unpack_from("<Q", data)
    document = json.loads(data[8 : 8 + length])
    header = json.loads(document["__metadata__"]["family"]) | changes
    kept = {name: value for name, value in header.items() if name not in without}
    document["__metadata__"]["family"] = json.dumps(kept)
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


def test_a_family_of_an_earlier_release_says_what_to_do() -> None:
    """The release whose journals had schema 3 wrote these fields, one of them as a number."""
    rows = [row.model_dump(exclude={"own_bytes"}) for row in family().table.rows]
    for row in rows:
        row["training_memory_bytes"] = row["training_memory_bytes"][-1]
    earlier = rewritten(without=("training", "updates", "update_share"), rows=rows)
    with pytest.raises(UnsupportedFormat, match="register its central model again"):
        Family.from_bytes(earlier)


@given(cut=st.integers(0, 40_000))
def test_a_truncated_family_is_refused(cut: int) -> None:
    data = family().to_bytes()
    with pytest.raises(VerificationFailed):
        Family.from_bytes(data[: min(cut, len(data) - 1)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_family_builds_on_a_gpu() -> None:
    assert build_tiny(device="cuda").table.rows[0].student == GRID.students()[0]


def test_unlabelled_windows_alone_are_enough() -> None:
    alone = build_family(central_weights(), SPEC, None, SOME.unlabelled(), REGISTERED, GRID, seed=0)
    assert len(alone.table.rows) == len(GRID.students())
    assert alone.digest != family().digest


def test_blocks_are_kept_by_their_ranking() -> None:
    """Every student of a family runs, whichever blocks its depth leaves."""
    ranked = network(family().header.architecture)
    assert sorted(ranked.rankings[0]) == [0, 1]
    for point in GRID.students():
        arrays = family().weights(point) | dict(family().statistics[point])
        model = load_state(build(family().header.architecture, point), arrays).eval()
        assert np.isfinite(logits(model, SOME.windows(PRE)[0])).all()


def retrained() -> bytes:
    """The central model after more training: its weights moved a little."""
    moved = {
        name: value + 0.02 * value.std() * np.random.default_rng(1).standard_normal(value.shape)
        for name, value in load(central_weights()).items()
    }
    return save({name: value.astype(np.float32) for name, value in moved.items()})


def test_an_update_keeps_the_grid_of_integers_and_most_codes() -> None:
    sets = (recordings(1), recordings(2).unlabelled(), REGISTERED, GRID)
    update = build_family(retrained(), SPEC, *sets, seed=0, previous=family())
    fresh = build_family(retrained(), SPEC, *sets, seed=0)
    assert update.table.updates == family().digest
    assert update.header.architecture == family().header.architecture

    def same(new: Family) -> float:
        pairs = [(new.codes[name], codes) for name, codes in family().codes.items()]
        return float(np.mean(np.concatenate([(a >> 4 == b >> 4).ravel() for a, b in pairs])))

    assert same(update) > same(fresh) + 0.05


def test_a_family_of_images_builds() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 1, 64)).astype(np.float32)
    spec = CentralModelSpec(
        architecture=ArchitectureSpec(
            id="resnet2d",
            kwargs={"classes": 3, "channels1": 4, "channels2": 8, "rows": 8, "columns": 8},
        ),
        preprocessing=Preprocessing(window=64, step=64, mean=(0.0,), deviation=(1.0,)),
        labels=("a", "b", "c"),
        files={},
        family=FamilyRecipe(steps=4, public_windows=20),
    )
    starts = np.arange(60) * 64
    images = Recordings(
        x.transpose(0, 2, 1).reshape(-1, 1),
        np.stack([starts, starts + 64], axis=1),
        rng.integers(0, 3, 60),
        np.arange(60),
    )
    grid = FamilyGrid(widths=(0.5, 1), depths=((1, 3), (1, 3)), bits=(4, 8))
    weights = to_safetensors(build(spec.architecture))
    built = build_family(weights, spec, images, images, (0.5, 0.1), grid, seed=0)
    assert [row.student for row in built.table.rows] == list(grid.students())
    assert len(built.public) == 20
