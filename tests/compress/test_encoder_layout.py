"""Encoders as data: which of their tensors a student keeps."""

import pytest

from stillhouse.compress.architectures import described, network
from stillhouse.compress.encoder import TextEncoder
from stillhouse.compress.encoder_layout import Encoder
from stillhouse.entities import ArchitectureSpec, Student
from stillhouse.errors import Invalid

FULL = Encoder(
    vocabulary=30,
    positions=8,
    hidden=12,
    heads=3,
    head_size=4,
    feed_forward=20,
    layers=3,
    order=(2, 0, 1),
    features=12,
)


def student(width: float, depth: int) -> Student:
    return Student(width=width, depths=(depth,), bits=8)


def shapes(encoder: Encoder) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in encoder.tensors()}


@pytest.mark.parametrize("width", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_module_has_exactly_the_tensors_of_its_layout(width: float, depth: int) -> None:
    encoder = FULL.narrowed(student(width, depth))
    state = TextEncoder(encoder).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == shapes(encoder)


def test_the_tensors_of_a_smaller_student_are_corners_of_the_full_ones() -> None:
    whole = shapes(FULL)
    for name, shape in shapes(FULL.narrowed(student(0.5, 2))).items():
        assert all(a <= b for a, b in zip(shape, whole[name], strict=True))


def test_a_shallow_student_keeps_the_first_layers_of_the_ranking_under_their_own_numbers() -> None:
    assert FULL.narrowed(student(1, 2)).blocks == (0, 2)


def test_a_narrow_student_keeps_whole_heads_and_gives_all_features() -> None:
    narrow = FULL.narrowed(student(0.5, 3))
    assert (narrow.hidden, narrow.heads, narrow.head_size, narrow.feed_forward) == (6, 2, 4, 10)
    assert shapes(narrow)["head.weight"] == (12, 6)


def test_channels_are_rounded_up_to_the_multiple_and_heads_are_not() -> None:
    narrow = FULL.model_copy(update={"multiple": 8}).narrowed(student(0.25, 3))
    assert (narrow.hidden, narrow.heads, narrow.feed_forward) == (8, 1, 8)


def test_a_classifier_has_a_bias_and_does_not_embed() -> None:
    classifier = FULL.model_copy(update={"features": 0, "classes": 5})
    assert not classifier.embeds
    assert shapes(classifier)["head.bias"] == (5,)


def test_a_description_gives_the_same_network_again() -> None:
    assert network(described("encoder", FULL)) == FULL


@pytest.mark.parametrize(
    "kwargs",
    [
        {"order": (0, 0, 1)},
        {"order": (0, 1)},
        {"features": 0},
        {"classes": 4},
        {"pad": 30},
        {"epsilon": 0},
    ],
)
def test_arguments_that_fit_no_encoder_are_refused(kwargs: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        network(ArchitectureSpec(id="encoder", kwargs={**FULL.model_dump(), **kwargs}))
