"""Architectures as data: what is on the list, and what is refused."""

import pytest
from tiny import ARCHITECTURE, GRID, student

from stillhouse.compress.architectures import described, network
from stillhouse.entities import ArchitectureSpec, FamilyGrid, Student
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


@pytest.mark.parametrize("point", [student(1, 3, 1), student(1, 0, 1), student(1, 1, 3)])
def test_a_student_that_is_no_corner_is_refused(point) -> None:
    with pytest.raises(Invalid):
        network(ARCHITECTURE, point)


def test_a_student_of_another_number_of_stages_is_refused() -> None:
    with pytest.raises(Invalid):
        network(ARCHITECTURE, student(1, 1, 1).model_copy(update={"depths": (1,)}))


@pytest.mark.parametrize("multiple", [1, 2, 8])
def test_narrow_channels_are_whole_multiples_but_never_more_than_there_are(multiple: int) -> None:
    spec = ArchitectureSpec(id="resnet1d", kwargs={"multiple": multiple, "channels1": 12})
    for width in FamilyGrid().widths:
        narrow = network(spec, Student(width=width, depths=(1, 1), bits=8))
        assert narrow.channels1 == min(12, -(-round(12 * width, 6) // multiple) * multiple)


def test_a_shallow_student_keeps_the_first_blocks_of_the_ranking_under_their_old_numbers() -> None:
    spec = ArchitectureSpec(id="resnet1d", kwargs={**ARCHITECTURE.kwargs, "blocks1": 3})
    ranked = described("resnet1d", network(spec).ranked(((0, 2, 1), (0, 1))))
    names = [t.name for t in network(ranked, student(1, 2, 1)).tensors()]
    assert any(name.startswith("stages.0.2.") for name in names)
    assert not any(name.startswith(("stages.0.1.", "stages.1.1.")) for name in names)


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (0,), (0, 2)])
def test_a_ranking_must_name_every_block_once_the_first_of_a_stage_first(order) -> None:
    with pytest.raises(Invalid):
        network(ArchitectureSpec(id="resnet1d", kwargs={**ARCHITECTURE.kwargs, "order1": order}))


def test_images_have_square_kernels() -> None:
    shapes = {t.name: t.shape for t in network(ArchitectureSpec(id="resnet2d")).tensors()}
    assert shapes["stem.convolution.weight"] == (32, 1, 3, 3)
    assert shapes["stages.0.0.shortcut.weight"] == (32, 32, 1, 1)


@pytest.mark.parametrize(
    ("spec", "window", "discrete"),
    [
        (ARCHITECTURE, 16, True),
        (ArchitectureSpec(id="resnet2d"), 783, False),
        (ArchitectureSpec(id="encoder"), 129, True),
        (ArchitectureSpec(id="encoder"), 64, False),
    ],
    ids=["ids for numbers", "not all pixels", "too many tokens", "numbers for ids"],
)
def test_windows_that_a_network_cannot_take_are_refused(spec, window, discrete) -> None:
    with pytest.raises(Invalid):
        network(spec).check_windows(window, discrete=discrete)
