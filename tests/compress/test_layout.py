"""Architectures as data: what is on the list, and what is refused."""

import pytest
from tiny import ARCHITECTURE, GRID, student

from stillhouse.compress.layout import network
from stillhouse.entities import ArchitectureSpec
from stillhouse.errors import Invalid, UnsupportedFormat


def test_the_tensors_of_a_smaller_student_are_corners_of_a_larger_ones() -> None:
    full = {t.name: t.shape for t in network(ARCHITECTURE).tensors()}
    for point in GRID.students():
        for tensor in network(ARCHITECTURE, point).tensors():
            assert all(a <= b for a, b in zip(tensor.shape, full[tensor.name], strict=True))


def test_an_id_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(UnsupportedFormat):
        network(ArchitectureSpec(id="os.system", kwargs={}))


@pytest.mark.parametrize(
    "kwargs",
    [{"units": 3}, {"classes": 1}, {"channels1": 1 << 20}, {"kernel": 2.5}, {"kernel": 4}],
)
def test_wrong_arguments_are_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        network(ArchitectureSpec(id="resnet1d", kwargs=kwargs))


@pytest.mark.parametrize(
    "point", [student(0.3, 1, 1), student(1, 3, 1), student(1, 0, 1), student(0.01, 1, 1)]
)
def test_a_student_that_is_no_corner_is_refused(point) -> None:
    with pytest.raises(Invalid):
        network(ARCHITECTURE, point)


def test_a_student_of_another_number_of_stages_is_refused() -> None:
    with pytest.raises(Invalid):
        network(ARCHITECTURE, student(1, 1, 1).model_copy(update={"depths": (1,)}))
