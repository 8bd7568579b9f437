"""What an update of each student takes, of the bytes that it would take to send it again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.report import Value


def draw(rows: Sequence[dict[str, Value]], path: Path) -> None:
    """A bar a student, the mean over seeds, in a panel a data set; as SVG."""
    names = list(dict.fromkeys(str(row["data"]) for row in rows))
    figure = Figure(figsize=(5 * len(names), 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        here = [row for row in rows if row["data"] == name]
        students = list(dict.fromkeys(str(row["student"]) for row in here))
        shares = [
            float(np.mean([float(row["share"]) for row in here if row["student"] == student]))
            for student in students
        ]
        axes.barh(students[::-1], shares[::-1])
        axes.set(title=f"{name}: update over whole student, bytes", xlim=(0, 1))
    figure.savefig(path)
