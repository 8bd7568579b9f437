"""What the layers that are left learn in closed form of those that are gone."""

import copy

import pytest
import torch
from torch.nn import functional as F

from stillhouse.compress.encoder import TextEncoder
from stillhouse.compress.encoder_layout import Encoder
from stillhouse.compress.reconstruction import reconstruct, spans
from stillhouse.entities import Student

SHAPE = Encoder(
    vocabulary=40,
    positions=8,
    hidden=12,
    heads=3,
    head_size=4,
    feed_forward=48,
    layers=4,
    features=12,
)


def texts(seed: int, count: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 40, (count, 1, 8), generator=generator).float()


@pytest.fixture
def teacher() -> TextEncoder:
    torch.manual_seed(5)
    made = TextEncoder(SHAPE).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        made.head.weight.copy_(torch.eye(12))
    return made


def alone(model: TextEncoder, kept: tuple[int, ...]) -> TextEncoder:
    """The student with these layers, as they are in `model`."""
    order = (*kept, *(n for n in range(SHAPE.layers) if n not in kept))
    shape = SHAPE.ranked((order,)).narrowed(Student(width=1, depths=(len(kept),), bits=32))
    student, whole = TextEncoder(shape), model.state_dict()
    student.load_state_dict({t.name: whole[t.name] for t in shape.tensors()})
    return student.eval()


@torch.no_grad()
def cosine(student: TextEncoder, teacher: TextEncoder, x: torch.Tensor) -> float:
    return float(F.cosine_similarity(student(x), teacher(x)).mean())


def changed(model: TextEncoder, before: TextEncoder) -> set[str]:
    """The layers that are not as they were."""
    then = before.state_dict()
    return {n.split(".")[1] for n, v in model.state_dict().items() if not torch.equal(v, then[n])}


def test_layers_come_closer_on_texts_that_they_have_not_seen(teacher: TextEncoder) -> None:
    model = copy.deepcopy(teacher)
    reconstruct(model, (0, 3), texts(0))
    before, after = (cosine(alone(m, (0, 3)), teacher, texts(1)) for m in (teacher, model))
    assert 1 - after < 0.75 * (1 - before)


def test_a_whole_encoder_is_left_as_it_is(teacher: TextEncoder) -> None:
    model = copy.deepcopy(teacher)
    reconstruct(model, (0, 1, 2, 3), texts(0))
    assert not changed(model, teacher)


def test_layers_before_the_first_gap_and_those_that_go_are_left_as_they_are(
    teacher: TextEncoder,
) -> None:
    model = copy.deepcopy(teacher)
    reconstruct(model, (0, 1, 3), texts(0))
    assert changed(model, teacher) == {"1", "3"}


@torch.no_grad()
def test_a_stronger_ridge_changes_less(teacher: TextEncoder) -> None:
    moved, name = [], "layers.0.feed_forward.second.weight"
    for ridge in (0.1, 10.0):
        model = copy.deepcopy(teacher)
        reconstruct(model, (0, 3), texts(0), ridge)
        moved.append(float((model.get_parameter(name) - teacher.get_parameter(name)).norm()))
    assert moved[1] < moved[0] / 2


def test_each_layer_stands_for_those_up_to_the_next_that_is_left() -> None:
    assert list(spans((0, 2), 4)) == [(0, 2), (2, 4)]
    assert list(spans((2,), 4)) == [(2, 4)]
