"""The order of chunks: every prefix runs, the first is small, and nothing held is sent again."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest
import simulated
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.chunks import (
    BEHAVIOUR_BATCH,
    Routes,
    behaviour_bytes,
    behaviour_chunks,
    chunks_for,
    new_wire_bytes,
    train_after,
    weights_chunks,
)
from stillhouse.compress.behaviour import behaviour_chunk
from stillhouse.compress.slices import StudentArrays, assemble, weights_chunk
from stillhouse.entities import (
    BehaviourRecipe,
    ChunkRecipe,
    DeltaRecipe,
    FamilyTable,
    Student,
    WeightsRecipe,
)

GRID = tiny.GRID.students()
TABLE = tiny.family().table
LARGEST, SMALLEST = tiny.student(1.0, 2, 2), tiny.student(0.5, 1, 1, 4)
STUDENTS = st.sampled_from(GRID)
BEFORE = "b" * 64
UPDATED = TABLE.model_copy(update={"updates": BEFORE, "update_share": 0.3})


def with_accuracy(table: FamilyTable, accuracies: Iterable[float]) -> FamilyTable:
    pairs = zip(table.rows, accuracies, strict=True)
    rows = tuple(row.model_copy(update={"accuracy": accuracy}) for row, accuracy in pairs)
    return table.model_copy(update={"rows": rows})


tables = st.lists(st.floats(0, 1), min_size=len(TABLE.rows), max_size=len(TABLE.rows)).map(
    lambda accuracies: with_accuracy(TABLE, accuracies)
)


def weights(recipes: Iterable[ChunkRecipe]) -> list[WeightsRecipe]:
    return [recipe for recipe in recipes if isinstance(recipe, WeightsRecipe)]


chunk = lru_cache(partial(weights_chunk, tiny.family()))


@lru_cache
def assembled(recipes: tuple[WeightsRecipe, ...]) -> StudentArrays:
    return assemble(tiny.ARCHITECTURE, [chunk(recipe) for recipe in recipes])


@given(table=tables, target=STUDENTS)
def test_chunks_chain_from_nothing_to_the_target_whatever_the_table_says(
    table: FamilyTable, target: Student
) -> None:
    recipes = weights_chunks(table, target)
    assert recipes[0].base is None
    assert recipes[-1].student == target
    for before, after in itertools.pairwise(recipes):
        assert after.base == before.student
        assert before.student.within(after.student)
        assert before.student != after.student


@settings(max_examples=25)
@given(table=tables, targets=st.lists(STUDENTS, min_size=1, max_size=4))
def test_what_is_held_is_never_sent_again_and_every_prefix_runs(
    table: FamilyTable, targets: list[Student]
) -> None:
    held: list[ChunkRecipe] = []
    for target in targets:
        plan = chunks_for(table, target, 20, held)
        sent = [recipe for recipe in plan if recipe not in held]
        assert len(set(plan)) == len(plan)
        chain = weights(plan)
        for count, recipe in enumerate(chain, 1):
            assert assembled(tuple(chain[:count])).student == recipe.student
        assert chain[-1].student == target
        state = assembled(tuple(chain)).state()
        for name, value in tiny.family().weights(target).items():
            np.testing.assert_array_equal(state[name], value)
        held += sent
        assert not set(chunks_for(table, target, 20, held)) - set(held)
        assert new_wire_bytes(table, target, held) == 0


@given(table=tables, target=STUDENTS, other=STUDENTS)
def test_the_bytes_still_to_send_are_those_of_the_chunks(
    table: FamilyTable, target: Student, other: Student
) -> None:
    held = weights_chunks(table, other)
    recipes = weights_chunks(table, target, held)
    sent = [recipe for recipe in recipes if recipe not in held]
    exact = sum(len(chunk(recipe)) for recipe in sent)
    assert abs(new_wire_bytes(table, target, held) - exact) <= len(sent)
    assert (
        new_wire_bytes(table, target, held) <= table.facts(target).wire_bytes + 1 or len(sent) > 1
    )


def test_a_target_of_eight_bits_begins_with_four_and_adds_planes() -> None:
    table = with_accuracy(TABLE, (0.8 + 0.01 * i for i in range(len(TABLE.rows))))
    bits = [recipe.student.bits for recipe in weights_chunks(table, LARGEST)]
    assert bits[0] == 4
    assert bits[-1] == 8
    assert bits == sorted(bits)
    whole = weights_chunks(table, tiny.student(1, 2, 2, 32))
    assert {recipe.student.bits for recipe in whole} == {32}


def test_the_next_student_is_the_one_that_gains_most_a_byte() -> None:
    """Width gains nothing here, so it comes last; a step that gains nothing is skipped."""
    gains = [0.5 + 0.01 * row.student.depths[0] for row in TABLE.rows]
    steps = weights_chunks(with_accuracy(TABLE, gains), tiny.student(1.0, 2, 2, 4))
    points = [(s.student.width, *s.student.depths) for s in steps]
    assert points == [(0.5, 1, 1), (0.5, 2, 1), (1.0, 2, 2)]


def test_the_first_prefix_of_a_family_of_135_is_small() -> None:
    target = Student(width=1.0, depths=(2, 2), bits=8)
    table = simulated.family((0.25, 0.375, 0.5, 0.75, 1.0), (1, 2, 3))
    routes = Routes(table)
    sizes = [routes.new_bytes(recipe) for recipe in routes.to(target)]
    assert sizes[0] / sum(sizes) < 0.08


def test_the_cheapest_of_what_is_held_is_where_a_path_begins() -> None:
    held = [
        *weights_chunks(TABLE, tiny.student(0.5, 2, 1)),
        *weights_chunks(TABLE, tiny.student(1, 2, 1)),
    ]
    chain = weights_chunks(TABLE, LARGEST, held)
    assert set(chain) - set(held) == {chain[-1]}
    assert chain[-1].base == tiny.student(1, 2, 1)


# --- behaviour -----------------------------------------------------------------------------------


def test_behaviour_comes_in_batches_that_cover_the_windows_once() -> None:
    batches = list(behaviour_chunks(TABLE, 2 * BEHAVIOUR_BATCH + 20, 4))
    spans = [(batch.first, batch.count) for batch in batches]
    assert spans == [(0, BEHAVIOUR_BATCH), (BEHAVIOUR_BATCH, BEHAVIOUR_BATCH), (500, 20)]
    assert len(list(behaviour_chunks(TABLE, 10_000, 3))) == 3


def test_behaviour_follows_the_core_and_is_planned_only_with_windows() -> None:
    chunks = chunks_for(TABLE, LARGEST, 20)
    assert isinstance(chunks[1], BehaviourRecipe)
    assert (chunks[1].first, chunks[1].count) == (0, 20)
    assert not [c for c in chunks_for(TABLE, LARGEST, 0) if isinstance(c, BehaviourRecipe)]


def test_a_slice_that_gains_more_a_byte_comes_before_behaviour() -> None:
    steep = with_accuracy(TABLE, (0.1 if row.student.width < 1 else 0.99 for row in TABLE.rows))
    order = chunks_for(steep, tiny.student(1.0, 1, 1, 4), 20 * BEHAVIOUR_BATCH, batches=20)
    kinds = [recipe.kind for recipe in order]
    assert kinds[0] == "weights"
    assert kinds.index("behaviour") > 0
    assert kinds[-1] == "behaviour"


def test_a_near_miss_sends_more_batches_and_nothing_else() -> None:
    held = chunks_for(TABLE, LARGEST, 2000, batches=4)
    more = chunks_for(TABLE, LARGEST, 2000, held, batches=6)
    new = [recipe for recipe in more if recipe not in held]
    assert [recipe.kind for recipe in new] == ["behaviour"] * 2


def test_the_bytes_of_behaviour_are_about_those_of_its_chunk() -> None:
    logits = np.random.default_rng(0).standard_normal((250, 3)).astype(np.float32)
    [recipe] = behaviour_chunks(TABLE, 250, 1)
    exact = len(behaviour_chunk(replace(tiny.family(), logits=logits), recipe))
    assert behaviour_bytes(TABLE, recipe) == pytest.approx(exact, abs=3)


def test_a_model_that_embeds_teaches_by_features() -> None:
    embeds = TABLE.model_copy(update={"embeds": True, "outputs": 384})
    [recipe] = behaviour_chunks(embeds, 20, 4)
    assert (recipe.layer, recipe.top_k) == ("features", 0)


def test_training_begins_with_the_core_and_the_first_batch() -> None:
    plan = chunks_for(TABLE, LARGEST, 1000)
    first = max(i for i, recipe in enumerate(plan) if recipe in (plan[0], behaviour_of(plan)))
    assert train_after(plan, plan) == first < len(plan) - 1
    assert train_after(plan, plan[first + 1 :]) == 0


def behaviour_of(plan: Iterable[ChunkRecipe]) -> BehaviourRecipe:
    return next(recipe for recipe in plan if isinstance(recipe, BehaviourRecipe))


# --- deltas --------------------------------------------------------------------------------------


def test_what_is_held_of_the_family_before_comes_as_deltas() -> None:
    before = weights_chunks(TABLE, LARGEST)
    plan = chunks_for(UPDATED, LARGEST, 0, held_before=before)
    assert list(plan) == [DeltaRecipe(family=BEFORE, of=recipe) for recipe in before]
    whole = new_wire_bytes(UPDATED, LARGEST, ())
    assert new_wire_bytes(UPDATED, LARGEST, (), before) == pytest.approx(0.3 * whole, rel=0.01)


def test_a_family_that_updates_none_sends_no_deltas() -> None:
    before = weights_chunks(TABLE, LARGEST)
    assert chunks_for(TABLE, LARGEST, 0, held_before=before) == weights_chunks(TABLE, LARGEST)


def test_a_chunk_that_a_delta_made_is_held() -> None:
    before = weights_chunks(TABLE, LARGEST)
    plan = chunks_for(UPDATED, LARGEST, 0, before[:1], held_before=before)
    assert plan[0] == before[0]
    assert {recipe.kind for recipe in plan[1:]} == {"delta"}


@given(targets=st.lists(STUDENTS, max_size=3), target=STUDENTS)
def test_deltas_chain_into_the_path_of_any_target(targets: list[Student], target: Student) -> None:
    before = {recipe for each in targets for recipe in weights_chunks(TABLE, each)}
    plan = chunks_for(UPDATED, target, 0, held_before=sorted(before, key=str))
    steps = [recipe.of if isinstance(recipe, DeltaRecipe) else recipe for recipe in plan]
    assert steps[0].kind == "weights"
    assert [steps[0].base, steps[-1].student] == [None, target]
    assert all(b.base == a.student for a, b in itertools.pairwise(steps))
    assert all(recipe.of in before for recipe in plan if isinstance(recipe, DeltaRecipe))


def test_a_target_that_the_held_chain_leaves_aside_is_sent_whole() -> None:
    """Narrower than all that is held: deltas lead nowhere."""
    chain = (tiny.step(None, LARGEST),)
    assert chunks_for(UPDATED, SMALLEST, 0, held_before=chain) == weights_chunks(TABLE, SMALLEST)
