"""One contract suite over every journal; a property that they agree; kill -9 and a full disk."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import committing
import pytest
from committing import IDENTITY
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.journal import memory, sqlite
from cluster.journal.contract import Commit, Journal, JournalIdentity, StoredAnswer
from cluster.journal.memory import MemoryJournal, Volume
from cluster.journal.sqlite import SqliteJournal
from stillhouse.decisions import Deadline, Effect, Index, Ready
from stillhouse.errors import Conflict, Fenced, Invalid, JournalMissing, JournalUnavailable
from stillhouse.listing import START, Filters, Listing, Position

PLACE = ("job", "plan")


@dataclass(frozen=True)
class Backend:
    initialise: Callable[[JournalIdentity], None]
    open: Callable[[JournalIdentity], Journal]


def in_memory() -> Backend:
    volume = Volume()
    return Backend(
        lambda identity: memory.initialise(volume, identity),
        lambda identity: MemoryJournal(volume, identity),
    )


def on_disk(folder: Path) -> Backend:
    path = folder / "state" / "journal.sqlite"
    return Backend(
        lambda identity: sqlite.initialise(path, identity),
        lambda identity: SqliteJournal(path, identity),
    )


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return in_memory() if request.param == "memory" else on_disk(tmp_path)


@pytest.fixture
def journal(backend: Backend) -> Iterator[Journal]:
    backend.initialise(IDENTITY)
    opened = backend.open(IDENTITY)
    yield opened
    opened.close()


def answer(key: str) -> StoredAnswer:
    return StoredAnswer(key, "digest", 201, b'{"document": null}')


# --- opening -------------------------------------------------------------------------------------


def test_a_journal_that_was_not_initialised_is_missing(backend: Backend) -> None:
    with pytest.raises(JournalMissing):
        backend.open(IDENTITY)


def test_an_empty_file_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(JournalMissing):
        SqliteJournal(tmp_path / "empty", IDENTITY)


def test_a_journal_is_initialised_once(journal: Journal, backend: Backend) -> None:
    journal.commit(Commit(1, rows={"a": b"1"}))
    with pytest.raises(Conflict):
        backend.initialise(IDENTITY)
    assert journal.load(["a"]) == {"a": b"1"}


@pytest.mark.parametrize(
    "other",
    [{"cluster_id": "other"}, {"publisher": "shard-1"}, {"shards": 2}, {"schema": 2}],
    ids=str,
)
def test_a_journal_opens_under_its_own_identity_alone(
    journal: Journal, backend: Backend, other: dict[str, str | int]
) -> None:
    with pytest.raises(Invalid):
        backend.open(replace(IDENTITY, **other))
    journal.commit(Commit(1))  # and who tried has fenced nobody


def test_an_older_writer_is_fenced_and_changes_nothing(journal: Journal, backend: Backend) -> None:
    newer = backend.open(IDENTITY)
    with pytest.raises(Fenced):
        journal.commit(Commit(1, rows={"a": b"old"}))
    newer.commit(Commit(1, rows={"a": b"new"}))
    with pytest.raises(Fenced):
        journal.commit(Commit(1, rows={"a": b"old"}))
    assert newer.load(["a"]) == {"a": b"new"}
    newer.close()


def test_what_was_committed_is_there_after_a_restart(journal: Journal, backend: Backend) -> None:
    journal.commit(committing.numbered(1))
    journal.close()
    again = backend.open(IDENTITY)
    assert again.load(["last", "row/1"]) == {"last": b"1", "row/1": b"1"}
    assert again.story("story") == [(1, 1.0, b"1"), (2, 1.0, b"1")]
    assert again.answers(["key/1"]) == {"key/1": StoredAnswer("key/1", "digest", 200, b"1")}
    again.close()


def test_only_its_owner_may_read_a_journal(tmp_path: Path) -> None:
    backend = on_disk(tmp_path)
    backend.initialise(IDENTITY)
    journal = backend.open(IDENTITY)
    journal.commit(Commit(1, rows={"a": b"1"}))
    folder = tmp_path / "state"
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {".sqlite": 0o600, ".sqlite-wal": 0o600, ".sqlite-shm": 0o600}
    journal.close()


# --- commits -------------------------------------------------------------------------------------


def test_rows_are_replaced_and_deleted(journal: Journal) -> None:
    journal.commit(Commit(1, rows={"a": b"1", "b": b"2"}))
    journal.commit(Commit(2, rows={"a": b"3", "b": None, "never": None}))
    assert journal.load(["a", "b", "never"]) == {"a": b"3"}


def test_a_taken_answer_key_fails_the_whole_commit_and_the_next_one_works(
    journal: Journal,
) -> None:
    journal.commit(Commit(1, answers=(answer("k"),)))
    effect = Effect("job", "plan", "plan", 1)
    bad = Commit(
        2,
        events=(("s", b"e"),),
        rows={"a": b"1"},
        index=Index(
            outbox={PLACE: effect}, due={PLACE: Deadline(1, *PLACE, 1)}, waiting={"job": "m"}
        ),
        answers=(answer("new"), answer("k")),
    )
    with pytest.raises(JournalUnavailable):
        journal.commit(bad)
    assert journal.load(["a"]) == {}
    assert journal.answers(["new"]) == {}
    assert journal.story("s") == []
    assert (journal.outbox(), journal.due(9, 9), journal.waiting("m", "", 9)) == ([], [], [])
    journal.commit(replace(bad, answers=(answer("new"),)))
    assert journal.outbox() == [effect]
    assert journal.events_after(0, 9) == [(1, 2.0, b"e")]


def test_two_answers_under_one_key_in_one_commit_fail_it(journal: Journal) -> None:
    with pytest.raises(JournalUnavailable):
        journal.commit(Commit(1, answers=(answer("k"), answer("k"))))
    assert journal.answers(["k"]) == {}


def test_old_answers_can_be_forgotten(journal: Journal) -> None:
    journal.commit(Commit(1, answers=(answer("old"),)))
    journal.commit(Commit(2, answers=(answer("young"),)))
    assert journal.forget_answers(before=2, limit=9) == 1
    assert journal.answers(["old", "young"]) == {"young": answer("young")}
    assert journal.forget_answers(before=2, limit=9) == 0


def test_old_answers_are_forgotten_in_pages(journal: Journal) -> None:
    for number in range(5):
        journal.commit(Commit(number, answers=(answer(f"key-{number}"),)))
    assert journal.forget_answers(before=9, limit=2) == 2
    assert set(journal.answers(f"key-{n}" for n in range(5))) == {"key-2", "key-3", "key-4"}


def test_a_run_of_one_story_is_read_from_its_midst_and_goes_as_a_whole(journal: Journal) -> None:
    journal.commit(Commit(1, events=(("a", b"1"), ("a", b"2"), ("a", b"3"), ("b", b"4"))))
    assert [each.data for each in journal.story("a", 1, 9)] == [b"2", b"3"]
    assert [each.data for each in journal.story("a", 0, 2)] == [b"1", b"2"]
    assert [each.data for each in journal.events_after(2, 9)] == [b"3", b"4"]
    journal.forget_events(through=3)
    assert journal.events_after(0, 9) == [(4, 1.0, b"4")]


# --- retention -----------------------------------------------------------------------------------


def test_the_oldest_events_are_read_and_dropped_but_never_the_newest(journal: Journal) -> None:
    for number in range(1, 5):
        journal.commit(Commit(number, events=(("s", b"%d" % number),)))
    assert journal.oldest(before=3, limit=9) == [(1, "s", 1.0, b"1"), (2, "s", 2.0, b"2")]
    assert journal.oldest(before=9, limit=1) == [(1, "s", 1.0, b"1")]
    journal.forget_events(through=2)
    assert journal.story("s") == [(3, 3.0, b"3"), (4, 4.0, b"4")]
    journal.forget_events(through=4)
    assert journal.events_after(0, 9) == [(4, 4.0, b"4")]
    journal.commit(Commit(5, events=(("s", b"5"),)))
    assert journal.story("s") == [(4, 4.0, b"4"), (5, 5.0, b"5")]


# --- events and indexes --------------------------------------------------------------------------


def test_a_story_is_one_streams_events_and_the_feed_is_all_of_them(journal: Journal) -> None:
    journal.commit(Commit(1, events=(("a", b"1"), ("b", b"2"))))
    journal.commit(Commit(2, events=(("a", b"3"),)))
    assert journal.story("a") == [(1, 1.0, b"1"), (3, 2.0, b"3")]
    assert journal.events_after(1, 9) == [(2, 1.0, b"2"), (3, 2.0, b"3")]
    assert journal.events_after(0, 1) == [(1, 1.0, b"1")]


def test_the_outbox_holds_what_began_and_has_not_ended_oldest_first(journal: Journal) -> None:
    first, second = Effect(*PLACE, "plan", 1), Effect("job", "decide", "decide", 1)
    outbox = {PLACE: first, ("job", "decide"): second}
    journal.commit(Commit(1, index=Index(outbox=outbox)))
    again = first._replace(attempt=2)
    journal.commit(Commit(2, index=Index(outbox={PLACE: again})))
    assert journal.outbox() == [second, again]
    journal.commit(Commit(3, index=Index(outbox={("job", "decide"): None, ("no", "one"): None})))
    assert journal.outbox() == [again]


def test_ready_nodes_are_found_client_by_client_the_first_of_each(journal: Journal) -> None:
    nodes = [
        Ready(1, "bob", "b1", "plan", 1),
        Ready(1, "ann", "a1", "plan", 1),
        Ready(1, "ann", "a0", "plan", 1),
        Ready(0, "cid", "c1", "plan", 2),
    ]
    journal.commit(Commit(1, index=Index(ready={(each.job_id, each.node): each for each in nodes})))
    assert journal.ready(1, "") == nodes[1]
    assert journal.ready(1, "ann") == nodes[0]
    assert journal.ready(1, "bob") is None
    assert journal.ready(0, "") == nodes[3]
    journal.commit(Commit(2, index=Index(ready={("a1", "plan"): None})))
    assert journal.ready(1, "") == nodes[2]


def test_deadlines_come_earliest_first_and_a_later_one_replaces_its_attempts(
    journal: Journal,
) -> None:
    late, soon = Deadline(5, "a", "n", 1), Deadline(3, "b", "n", 1)
    journal.commit(Commit(1, index=Index(due={("a", "n"): late, ("b", "n"): soon})))
    assert journal.due(4, 9) == [soon]
    assert journal.due(5, 1) == [soon]
    later = Deadline(8, "b", "n", 2)
    journal.commit(Commit(2, index=Index(due={("b", "n"): later, ("a", "n"): None})))
    assert journal.due(9, 9) == [later]


def test_waiting_jobs_are_read_page_by_page_for_one_model(journal: Journal) -> None:
    waiting = {"c": "m", "a": "m", "b": "other", "d": "m"}
    journal.commit(Commit(1, index=Index(waiting=waiting)))
    assert journal.waiting("m", "", 2) == ["a", "c"]
    assert journal.waiting("m", "c", 2) == ["d"]
    journal.commit(Commit(2, index=Index(waiting={"a": None, "b": None})))
    assert journal.waiting("m", "", 9) == ["c", "d"]
    assert journal.waiting("other", "", 9) == []


def test_dead_letters_wait_newest_first_until_they_are_replayed(journal: Journal) -> None:
    journal.commit(Commit(1, index=Index(dead={"x": 1.0, "y": 3.0, "z": 2.0})))
    assert journal.dead(START, 9) == ["y", "z", "x"]
    assert journal.dead(Position(3.0, "y"), 1) == ["z"]
    journal.commit(Commit(2, index=Index(dead={"z": None})))
    assert journal.dead(START, 9) == ["y", "x"]


def test_a_clients_running_jobs_come_oldest_first(journal: Journal) -> None:
    lines = [
        listing("new", 3),
        listing("old", 1),
        listing("over", 2, state="ENDED"),
        listing("waits", 2, state="ACCEPTED"),
        listing("foreign", 1, client_id="bob"),
    ]
    journal.commit(Commit(1, index=listed(*lines)))
    assert journal.running_jobs("ann", 9) == ["old", "new"]
    assert journal.running_jobs("ann", 1) == ["old"]
    assert journal.running_jobs("nobody", 9) == []


def listing(job: str, at: float, **changes: str) -> Listing:
    given = {"client_id": "ann", "edge_model_profile_id": "prf", "central_model": "wrist"}
    return Listing(job, at, **{**given, "state": "RUNNING", "verdict": None, **changes})


def listed(*lines: Listing) -> Index:
    return Index(listed={line.job_id: line for line in lines})


def test_lists_are_newest_first_page_by_page_and_filtered(journal: Journal) -> None:
    lines = [listing(f"job-{i}", i // 2, client_id="ann" if i % 3 else "bob") for i in range(7)]
    journal.commit(Commit(1, index=listed(*lines)))
    newest = [f"job-{i}" for i in (6, 5, 4, 3, 2, 1, 0)]
    assert journal.listing(Filters(), START, 10) == newest
    assert journal.listing(Filters(), START, 2) == newest[:2]
    assert journal.listing(Filters(), Position(2.0, "job-5"), 3) == newest[2:5]
    assert journal.listing(Filters(client_id="bob"), START, 10) == ["job-6", "job-3", "job-0"]
    assert journal.listing(Filters(central_model="other"), START, 10) == []


def test_a_job_that_moved_is_listed_once_as_it_is_now(journal: Journal) -> None:
    journal.commit(Commit(1, index=listed(listing("a", 1), listing("b", 2))))
    ended = listing("a", 1, state="ENDED", verdict="MET")
    journal.commit(Commit(2, index=listed(ended)))
    assert journal.listing(Filters(), START, 10) == ["b", "a"]
    assert journal.listing(Filters(state="RUNNING"), START, 10) == ["b"]
    assert journal.listing(Filters(state="ENDED", verdict="MET"), START, 10) == ["a"]
    assert journal.states() == {"RUNNING": 1, "ENDED": 1}


def test_keys_are_read_by_prefix_in_order(journal: Journal) -> None:
    rows = dict.fromkeys(("name/b", "name/a", "name/c", "namesake", "table/a"), b"1")
    journal.commit(Commit(1, rows=rows))
    assert journal.keys("name/", "", 10) == ["name/a", "name/b", "name/c"]
    assert journal.keys("name/", "name/a", 1) == ["name/b"]
    assert journal.keys("none/", "", 10) == []


def test_a_story_goes_on_behind_a_sequence(journal: Journal) -> None:
    journal.commit(Commit(1, events=(("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", b"4"))))
    assert [each.data for each in journal.story("a", 1, 1)] == [b"3"]
    assert [each.sequence for each in journal.story("a", 1, 10)] == [3, 4]
    assert journal.story("a", 4, 10) == []


# --- the journals agree --------------------------------------------------------------------------

few = st.sampled_from("abc")
times = st.integers(0, 5).map(float)
attempts = st.integers(1, 3)
places = st.tuples(few, few)
entries = {
    "outbox": st.builds(Effect, few, few, few, attempts),
    "ready": st.builds(Ready, st.integers(0, 2), few, few, few, attempts),
    "due": st.builds(Deadline, times, few, few, attempts),
}


def by_place(entry: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[Any, Any]]:
    """Entries that begin, by the place that they name, and places whose entries end."""
    begun = st.lists(entry, max_size=2).map(
        lambda found: {(each.job_id, each.node): each for each in found}
    )
    ended = st.lists(places, max_size=2).map(dict.fromkeys)
    return st.builds(lambda first, second: {**first, **second}, ended, begun)


indexes = st.builds(
    Index,
    **{name: by_place(entry) for name, entry in entries.items()},
    waiting=st.dictionaries(few, st.none() | few, max_size=2),
    dead=st.dictionaries(few, st.none() | times, max_size=2),
    listed=st.lists(
        st.builds(
            lambda job, state, verdict: Listing(
                job, float(ord(job)), job, job, job, state, verdict
            ),
            few,
            few | st.just("RUNNING"),
            st.none() | few,
        ),
        max_size=2,
    ).map(lambda lines: {line.job_id: line for line in lines}),
)
commits = st.builds(
    Commit,
    now=times,
    events=st.lists(st.tuples(few, st.binary(max_size=3)), max_size=3).map(tuple),
    rows=st.dictionaries(few, st.none() | st.binary(max_size=3), max_size=3),
    index=indexes,
    answers=st.lists(
        st.builds(StoredAnswer, st.text("abcd", max_size=2), few, st.just(200), st.binary()),
        max_size=2,
    ).map(tuple),
)


def seen(journal: Journal) -> list[object]:
    """All that the contract lets one read."""
    keys = [a + b for a in ("", *"abcd") for b in ("", *"abcd")]
    return [
        journal.load("abc"),
        journal.answers(keys),
        journal.outbox(),
        [journal.ready(priority, after) for priority in (0, 1, 2) for after in ("", "a")],
        journal.dead(START, 9),
        [journal.running_jobs(client, 9) for client in "abc"],
        journal.oldest(3, 1000),
        [journal.due(now, limit) for now in (0, 2, 5) for limit in (1, 9)],
        [journal.waiting(model, after, 2) for model in "abc" for after in ("", "a", "b")],
        [journal.story(stream, after, 3) for stream in "abc" for after in (0, 2)],
        [journal.listing(filters, START, 9) for filters in (Filters(), Filters(state="a"))],
        journal.listing(Filters(client_id="b", verdict="c"), Position(3.0, "b"), 1),
        journal.states(),
        journal.keys("a", "", 9),
        journal.events_after(2, 3),
    ]


def outcome(journal: Journal, batch: Commit) -> type[JournalUnavailable] | None:
    try:
        journal.commit(batch)
    except JournalUnavailable:
        return JournalUnavailable
    return None


@settings(max_examples=40, deadline=None)
@given(st.lists(commits, max_size=6), times)
def test_sqlite_and_memory_agree_whatever_is_committed(
    batches: list[Commit], forgotten: float
) -> None:
    with TemporaryDirectory() as folder:
        backends = (in_memory(), on_disk(Path(folder)))
        for backend in backends:
            backend.initialise(IDENTITY)
        first, second = (backend.open(IDENTITY) for backend in backends)
        for batch in batches:
            assert outcome(first, batch) == outcome(second, batch)
            assert seen(first) == seen(second)
        assert first.forget_answers(forgotten, 2) == second.forget_answers(forgotten, 2)
        second.close()
        assert seen(first) == seen(backends[1].open(IDENTITY))


# --- SQLite: what is killed, and what the disk refuses -------------------------------------------


def killed_after(path: Path, commits: int) -> int:
    """Run `committing`, kill -9 it after this many commits; the last that it acknowledged."""
    command = [sys.executable, committing.__file__, str(path)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(commits)]
        process.kill()
        return int([*acknowledged, *process.stdout.readlines()][-1])


def test_kill_minus_nine_loses_no_acknowledged_commit_and_leaves_none_half(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    sqlite.initialise(path, IDENTITY)
    for kill in range(3):
        acknowledged = killed_after(path, commits=5 + 7 * kill)
        journal = SqliteJournal(path, IDENTITY)
        last = int(journal.load(["last"])["last"])
        assert last >= acknowledged
        numbers = range(1, last + 1)
        story = [data for _, _, data in journal.story("story")]
        assert story == [b"%d" % number for number in numbers for _ in range(2)]
        assert len(journal.load(f"row/{number}" for number in range(last + 9))) == last
        assert len(journal.answers(f"key/{number}" for number in numbers)) == last
        assert journal.answers([f"key/{last + 1}"]) == {}
        journal.close()


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond `free_bytes`: writing there is an error of the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_fails_the_commit_whole_and_the_journal_heals(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    sqlite.initialise(path, IDENTITY)
    journal = SqliteJournal(path, IDENTITY)
    journal.commit(Commit(1, rows={"a": b"before"}))
    size = (tmp_path / "journal.sqlite-wal").stat().st_size
    big = Commit(2, events=(("s", b"e"),), rows={"a": b"after", "b": bytes(1 << 20)})
    with full_disk(size + 100_000), pytest.raises(JournalUnavailable):
        journal.commit(big)
    assert journal.load(["a", "b"]) == {"a": b"before"}
    assert journal.story("s") == []
    journal.commit(big)
    assert journal.load(["a"]) == {"a": b"after"}
    journal.close()


def test_a_busy_journal_is_unavailable_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    sqlite.initialise(path, IDENTITY)
    journal = SqliteJournal(path, IDENTITY)
    other = sqlite.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable):
        journal.commit(Commit(1, rows={"a": b"1"}))
    assert journal.load(["a"]) == {}
    other.close()
    journal.commit(Commit(1, rows={"a": b"1"}))
    assert journal.load(["a"]) == {"a": b"1"}
    journal.close()
