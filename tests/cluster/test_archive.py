"""Archived events: durable before they are forgotten, read in order, each once."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kills import killed_at_rename

from cluster.journal.archive import archive_events, archived_events
from cluster.journal.contract import StreamEvent
from stillhouse.errors import Invalid


def events(first: int, last: int) -> list[StreamEvent]:
    """Every third belongs to another story; the data is not text."""
    return [
        StreamEvent(number, f"job-{number % 3}", 1000.5 + number, b"Event \xff%d" % number)
        for number in range(first, last + 1)
    ]


def test_what_was_archived_is_read_again_in_order(tmp_path: Path) -> None:
    archive_events(events(31, 60), tmp_path, "shard-0")
    archive_events(events(1, 30), tmp_path, "shard-0")
    assert list(archived_events(tmp_path, "shard-0")) == events(1, 60)
    assert list(archived_events(tmp_path, "shard-0", after=29)) == events(30, 60)
    assert list(archived_events(tmp_path, "shard-0", after=60)) == []


def test_one_story_alone_is_read_and_goes_on_behind_a_sequence(tmp_path: Path) -> None:
    archive_events(events(1, 30), tmp_path, "shard-0")
    archive_events(events(31, 60), tmp_path, "shard-0")
    expected = [event for event in events(1, 60) if event.stream == "job-1"]
    assert list(archived_events(tmp_path, "shard-0", "job-1")) == expected
    assert list(archived_events(tmp_path, "shard-0", "job-1", after=31)) == expected[11:]
    assert list(archived_events(tmp_path, "shard-0", "job-9")) == []


def test_publishers_share_a_folder_and_never_a_file(tmp_path: Path) -> None:
    archive_events(events(1, 3), tmp_path, "shard-1")
    archive_events(events(1, 9), tmp_path, "shard-11")
    assert list(archived_events(tmp_path, "shard-1")) == events(1, 3)
    assert list(archived_events(tmp_path, "vault")) == []
    assert list(archived_events(tmp_path / "never made", "vault")) == []


def test_a_file_is_private_compressed_and_open_to_other_readers(tmp_path: Path) -> None:
    path = archive_events(events(1, 30), tmp_path, "shard-0")
    assert path.name == f"shard-0.{1:019d}-{30:019d}.parquet"
    assert path.stat().st_mode & 0o777 == 0o600
    table = pq.read_table(path)
    assert [str(each.type) for each in table.schema] == ["int64", "string", "double", "binary"]
    assert pq.ParquetFile(path).metadata.row_group(0).column(3).compression == "ZSTD"


def test_nothing_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        archive_events([], tmp_path, "shard-0")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_before_the_rename_leaves_no_archive(tmp_path: Path) -> None:
    assert killed_at_rename(1, lambda: archive_events(events(1, 9), tmp_path, "shard-0"))
    assert list(archived_events(tmp_path, "shard-0")) == []
    archive_events(events(1, 9), tmp_path, "shard-0")
    assert list(archived_events(tmp_path, "shard-0")) == events(1, 9)


spans = st.tuples(st.integers(0, 8), st.integers(0, 20))


@given(again=st.lists(spans, min_size=1, max_size=4), after=st.integers(0, 40))
def test_events_that_were_archived_twice_are_read_once(
    tmp_path_factory: pytest.TempPathFactory, again: list[tuple[int, int]], after: int
) -> None:
    """A crash between the file and the deletion: the next file begins before the last one's end."""
    folder, end = tmp_path_factory.mktemp("archive"), 0
    for back, more in again:
        first, last = max(1, end + 1 - back), end + 1 + more
        archive_events(events(first, last), folder, "shard-0")
        end = max(end, last)
    assert list(archived_events(folder, "shard-0")) == events(1, end)
    assert list(archived_events(folder, "shard-0", after=after)) == events(after + 1, end)
