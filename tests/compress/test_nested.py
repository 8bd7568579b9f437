"""Nested students: which are open, which are drawn, and that all share one set of weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import ARCHITECTURE, GRID, shape

from stillhouse.compress.arch import build, load_state, weights_of
from stillhouse.compress.losses import distillation_loss
from stillhouse.compress.nested import (
    NestedStudents,
    drawn_students,
    open_students,
    recalibrate,
)
from stillhouse.entities import FamilyGrid


@given(progress=st.floats(0, 2))
def test_students_open_from_the_largest_to_all(progress: float) -> None:
    opened = open_students(FamilyGrid(), progress)
    assert opened[-1] == shape(1, 3, 3)
    assert set(opened) <= set(open_students(FamilyGrid(), progress + 0.1))
    assert (progress < 1) or len(opened) == len(FamilyGrid().shapes())


def test_only_the_largest_is_open_at_the_start() -> None:
    assert open_students(FamilyGrid(), 0) == [shape(1, 3, 3)]


def test_a_step_trains_the_largest_and_the_smallest_and_some_by_chance() -> None:
    opened = open_students(GRID, 1)
    drawn = list(drawn_students(opened, 2, np.random.default_rng(0)))
    assert drawn[:2] == [shape(1, 2, 2), shape(0.5, 1, 1)]
    assert len(drawn) == 4
    assert drawn[3].width < 1


def test_gradients_of_a_student_reach_its_corner_alone() -> None:
    weights = build(ARCHITECTURE)
    nested = NestedStudents(weights, ARCHITECTURE, GRID, "cpu")
    nested(shape(0.5, 1, 1), torch.randn(4, 3, 16)).sum().backward()
    stem, deep = weights.stem.convolution.weight.grad, weights.stages[0]["1"]
    assert (stem[:2] != 0).any()
    assert (stem[2:] == 0).all()
    assert all(p.grad is None for p in deep.parameters())


def test_a_student_computes_what_a_network_of_its_corner_does() -> None:
    weights, point, x = build(ARCHITECTURE), shape(0.5, 1, 2), torch.randn(4, 3, 16)
    small = build(ARCHITECTURE, point)
    full = weights_of(weights)
    load_state(
        small, {n: full[n][tuple(map(slice, v.shape))] for n, v in weights_of(small).items()}
    )
    nested = NestedStudents(weights, ARCHITECTURE, GRID, "cpu")
    torch.testing.assert_close(nested(point, x), small.train()(x))


def test_the_loss_is_zero_for_equal_logits_and_grows_with_their_distance() -> None:
    teacher = torch.tensor([[2.0, 0.0, -1.0]])
    losses = [float(distillation_loss(teacher * scale, teacher, 2.0)) for scale in (1, 0.5, -1)]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses == sorted(losses)


def test_recalibration_sets_statistics_to_those_of_the_windows() -> None:
    model, x = build(ARCHITECTURE), torch.randn(32, 3, 16) * 5 + 1
    with torch.no_grad():
        stem = model.stem.convolution(x)
    recalibrate(model, x)
    assert not model.training
    torch.testing.assert_close(model.stem.norm.running_mean, stem.mean((0, 2)))
    torch.testing.assert_close(model.stem.norm.running_var, stem.var((0, 2)))
