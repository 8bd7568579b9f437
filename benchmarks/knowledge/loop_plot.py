"""Who met how many feasible profiles, in how many rounds, with how many bytes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.report import Value


def draw(rows: Sequence[dict[str, Value]], path: Path) -> None:
    """A bar a planner in each of three panels, as SVG."""
    feasible = [row for row in rows if row["feasible"] and row["planner"] != "offer"]
    names = list(dict.fromkeys(str(row["planner"]) for row in feasible))

    def mean(name: str, key: str, *, met: bool = False) -> float:
        of = [r for r in feasible if r["planner"] == name and (r["met"] or not met)]
        return float(np.mean([float(row[key]) for row in of])) if of else 0.0

    figure = Figure(figsize=(10, 3), layout="constrained")
    panels = (
        ("profiles met", [mean(name, "met") for name in names]),
        ("of those, held on unseen data", [mean(name, "holds", met=True) for name in names]),
        ("rounds, where met", [mean(name, "rounds", met=True) for name in names]),
    )
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.barh(names[::-1], values[::-1])
        axes.set_title(title)
    figure.savefig(path)
