"""The order of chunks: every prefix of the weights runs, and prefixes are shared."""

import itertools

import pytest
import tiny

from stillhouse.chunks import chunks_for, new_wire_bytes, path, weights_chunks
from stillhouse.entities import BehaviourRecipe, Student

GRID = tiny.GRID.students()


@pytest.mark.parametrize("target", GRID, ids=str)
def test_each_step_of_a_path_is_a_student_of_the_family_within_the_next(target: Student) -> None:
    steps = path(GRID, target)
    assert set(steps) <= set(GRID)
    assert steps[-1] == target
    assert all(a.within(b) and a != b for a, b in itertools.pairwise(steps))
    assert len({step.bits for step in steps}) == 1


def test_chunks_chain_from_nothing_to_the_target() -> None:
    recipes = weights_chunks(GRID, tiny.student(1.0, 2, 2))
    assert recipes[0].base is None
    assert [r.base for r in recipes[1:]] == [r.student for r in recipes[:-1]]


def test_behaviour_comes_right_after_the_core_and_only_with_windows() -> None:
    table, target = tiny.family().table, tiny.student(1.0, 2, 2)
    chunks = chunks_for(table, target, 20)
    assert isinstance(chunks[1], BehaviourRecipe)
    assert (chunks[1].first, chunks[1].count) == (0, 20)
    assert not [c for c in chunks_for(table, target, 0) if isinstance(c, BehaviourRecipe)]


def test_what_is_held_costs_nothing_and_the_rest_adds_up() -> None:
    table, target = tiny.family().table, tiny.student(1.0, 2, 2)
    recipes = weights_chunks(GRID, target)
    assert new_wire_bytes(table, target, frozenset()) == table.facts(target).wire_bytes
    assert new_wire_bytes(table, target, frozenset(recipes)) == 0
    held = frozenset(recipes[:1])
    core = table.facts(recipes[0].student).wire_bytes
    assert new_wire_bytes(table, target, held) == table.facts(target).wire_bytes - core
