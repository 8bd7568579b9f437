"""The training recipe of a family: the owner's, and what is measured where that is open."""

import numpy as np
import pytest
import tiny

from stillhouse.compress.recordings import Recordings
from stillhouse.edge import recipe
from stillhouse.edge.recipe import middling, people, standardising_pays, with_measured_recipe

TRAINING = tiny.recordings(1, people=6, length=400)


def spec(standardise: bool | None):
    return tiny.SPEC.model_copy(update={"standardise": standardise})


@pytest.mark.parametrize("chosen", [True, False])
def test_the_owner_has_the_last_word(chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "standardising_pays", lambda *_: not chosen)
    found = with_measured_recipe(tiny.family(), spec(chosen), TRAINING, 0)
    assert found.table.training.standardise is chosen


@pytest.mark.parametrize("pays", [True, False])
def test_what_the_owner_leaves_open_is_measured(
    pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "standardising_pays", lambda *_: pays)
    found = with_measured_recipe(tiny.family(), spec(None), TRAINING, 0)
    assert found.table.training.standardise is pays


def test_nothing_is_measured_without_labels() -> None:
    found = with_measured_recipe(tiny.family(), spec(None), None, 0)
    assert found.table.training == tiny.SPEC.training


def test_it_pays_only_where_accuracy_gains_more_than_its_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trainings are stood in for: what is tested is the rule over their results."""
    for gains, expected in (
        ((0.1, 0.1, 0.1), True),
        ((0.1, -0.1, 0.02), False),
        ((-0.1,) * 3, False),
    ):
        left = iter(gains)

        def trained(*given, gain=left) -> float:
            return 0.5 + (next(gain) if given[-1] else 0.0)

        monkeypatch.setattr(recipe, "_trained", trained)
        assert standardising_pays(tiny.family(), TRAINING, 0) is expected


def test_a_measurement_really_trains_and_is_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "STEPS", 5)
    once, twice = (standardising_pays(tiny.family(), TRAINING, 0) for _ in range(2))
    assert once is twice


def test_people_are_disjoint_groups_of_sources() -> None:
    groups = people(TRAINING, 0)
    sources = [set(group.sources) for group in groups]
    assert len(groups) == recipe.PEOPLE
    assert sum(map(len, sources)) == len(set.union(*sources))


def test_too_few_people_say_nothing() -> None:
    alone: Recordings = TRAINING.select(np.asarray(TRAINING.sources == 0))
    assert not standardising_pays(tiny.family(), alone, 0)


def test_the_middling_student_is_quantised_and_of_the_family() -> None:
    student = middling(tiny.family())
    assert student.bits == 8
    assert tiny.family().table.facts(student)
