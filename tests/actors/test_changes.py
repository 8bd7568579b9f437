"""Which clients changed since a cursor; whoever has been forgotten may have."""

from dataclasses import dataclass

from actors.job_manager import Changes


@dataclass(frozen=True)
class Row:
    client_id: str


def noted(changes: Changes, *clients: str) -> None:
    changes.note([Row(client) for client in clients])


def test_only_those_since_the_cursor_are_named() -> None:
    changes = Changes()
    noted(changes, "ann", "bob")
    cursor, _ = changes.since("")
    assert changes.since(cursor) == (cursor, ())
    noted(changes, "cid")
    noted(changes, "ann")
    later, clients = changes.since(cursor)
    assert (later != cursor, set(clients or ())) == (True, {"ann", "cid"})


def test_a_cursor_of_another_life_or_none_says_that_all_may_have_changed() -> None:
    old, _ = Changes().since("")
    changes = Changes()
    noted(changes, "ann")
    for cursor in ("", "nonsense", old):
        assert changes.since(cursor)[1] is None


def test_what_was_forgotten_may_have_changed_and_memory_is_bounded() -> None:
    changes = Changes(kept=3)
    before, _ = changes.since("")
    for number in range(10):
        noted(changes, f"client-{number}")
    assert changes.since(before)[1] is None
    now, _ = changes.since("")
    noted(changes, "client-9")
    assert changes.since(now)[1] == ("client-9",)
    assert len(changes._last) == 3


def test_rows_that_are_no_clients_change_nothing() -> None:
    changes = Changes()
    cursor, _ = changes.since("")
    changes.note([object()])
    assert changes.since(cursor) == (cursor, ())
