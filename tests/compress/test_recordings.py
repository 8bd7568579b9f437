"""Recordings: windows, and Parquet that may come from anyone."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import PRE, recordings

from stillhouse.compress.recordings import UNLABELLED, Recordings
from stillhouse.errors import Invalid

GOOD = recordings(0)


def test_windows_are_standardised_and_know_their_recording() -> None:
    x, labels, owner = GOOD.windows(PRE)
    assert x.shape == (6 * 11, 3, 16)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(labels, GOOD.labels[owner])
    second = GOOD.samples[8:24].T
    np.testing.assert_allclose(x[1], (second - [[0], [0], [0.5]]) / [[1], [1], [2]], rtol=1e-5)


def test_no_window_crosses_the_end_of_a_recording() -> None:
    marked = Recordings(
        np.repeat(np.arange(6, dtype=np.float32), 96)[:, None].repeat(3, 1),
        *(GOOD.spans, GOOD.labels, GOOD.sources),
    )
    x, _, owner = marked.windows(PRE)
    np.testing.assert_array_equal(x[:, 0], np.repeat(owner[:, None], 16, 1))


def test_recordings_shorter_than_a_window_have_none() -> None:
    with pytest.raises(Invalid):
        recordings(0, length=15).windows(PRE)


def test_parquet_gives_back_the_same_recordings() -> None:
    chosen = GOOD.select(GOOD.labels != 1)
    again = Recordings.from_parquet(chosen.to_parquet())
    for mine, theirs in zip(chosen.windows(PRE), again.windows(PRE), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(again.sources, chosen.sources)
    assert again.to_parquet() == chosen.to_parquet()


def test_a_transfer_set_has_no_labels() -> None:
    again = Recordings.from_parquet(GOOD.unlabelled().to_parquet())
    assert set(again.labels) == {UNLABELLED}


def parquet(**changes: list[float] | None) -> bytes:
    columns = {
        "recording": pa.array([0, 0, 1], pa.int32()),
        "source": pa.array([4, 4, 5], pa.int32()),
        "label": pa.array([1, 1, -1], pa.int32()),
        "axis0": pa.array([0.0, 1.0, 2.0], pa.float32()),
    }
    for name, values in changes.items():
        type = columns[name].type if name in columns else pa.float32()
        columns[name] = pa.array(values, type)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_the_example_of_the_refusals_is_itself_fine() -> None:
    assert len(Recordings.from_parquet(parquet())) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"recording": [0, 1, 0]},
        {"recording": [1, 1, 2]},
        {"source": [4, 5, 5]},
        {"label": [0, 1, 1]},
        {"label": [-2, -2, 0]},
        {"label": [70_000, 70_000, 0]},
        {"axis0": [0, float("nan"), 0]},
        {"axis0": [0, None, 0]},
        {"axis2": [0, 0, 0]},
        {"name": [0, 0, 0]},
    ],
    ids=str,
)
def test_recordings_that_contradict_themselves_are_refused(changes) -> None:
    with pytest.raises(Invalid):
        Recordings.from_parquet(parquet(**changes))


def test_columns_of_another_type_are_refused() -> None:
    sink = io.BytesIO()
    names = ["recording", "source", "label", "axis0"]
    pq.write_table(pa.table([pa.array([0])] * 4, names=names), sink)
    with pytest.raises(Invalid):
        Recordings.from_parquet(sink.getvalue())


@given(data=st.binary(max_size=100))
def test_bytes_that_are_no_parquet_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        Recordings.from_parquet(data)


@given(at=st.integers(0, len(GOOD.to_parquet()) - 1))
def test_a_truncated_file_is_refused(at: int) -> None:
    with pytest.raises(Invalid):
        Recordings.from_parquet(GOOD.to_parquet()[:at])
