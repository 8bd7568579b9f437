"""The picture shows the report's numbers, all of them, and is a PNG of the size it says."""

from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from test_report import MET, TAG, WHOLE, report

from edge_sim.baselines import Baseline
from edge_sim.picture import draw, fill

SCRATCH = Baseline(
    name="scratch",
    student="w0.25 d1-1 int4",
    accuracy=0.81,
    accuracy_se=0.1,
    storage_bytes=3_000,
    memory_bytes=10_000,
)
JOB = MET.model_copy(update={"baselines": (SCRATCH,)})


@pytest.fixture
def axes() -> Axes:
    figure, axes = plt.subplots(figsize=(12, 8))
    yield axes
    plt.close(figure)


def points(axes: Axes) -> set[tuple[float, float]]:
    found = set()
    for line in axes.get_lines():
        found |= {(float(x), round(float(y), 6)) for x, y in line.get_xydata()}
    return found


def test_student_floor_baseline_and_central_model_stand_where_the_report_says(axes: Axes) -> None:
    fill(axes, report(JOB, TAG))
    drawn = points(axes)
    assert (3_400, 0.94) in drawn  # the student: bytes sent, test accuracy
    assert (3_400, 0.9) in drawn  # the least that its profile accepts
    assert (3_000, 0.81) in drawn  # the baseline
    assert (WHOLE, 0.92) in drawn  # the central model on this person
    assert {x for x, _ in drawn} >= {WHOLE / 10, WHOLE}  # the limits


def test_names_with_their_verdicts_cover_neither_each_other_nor_the_legend(axes: Axes) -> None:
    near = [
        JOB.model_copy(update={"device": f"device-{i}", "bytes_sent": 3_400 + i}) for i in range(6)
    ]
    fill(axes, report(*near))
    texts = [
        each for each in axes.texts if isinstance(each, Annotation) and "MET" in each.get_text()
    ]
    boxes = [Text.get_window_extent(text) for text in texts] + [
        axes.get_legend().get_window_extent()
    ]
    assert len(texts) == 6
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    assert overlaps == []


def test_the_file_is_a_png_of_1200_by_800(tmp_path: Path) -> None:
    file = tmp_path / "run.png"
    draw(report(JOB, TAG), file)
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1200, 800)
