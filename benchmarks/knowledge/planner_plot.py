"""Rounds, success and wrong answers of every planner, side by side."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from benchmarks.report import Value

PANELS = (
    ("rounds", "rounds to success"),
    ("success", "success on what is feasible"),
    ("false_accepts", "false accepts"),
    ("false_infeasible", "false infeasible"),
)


def draw(rows: Sequence[dict[str, Value]], path: Path) -> None:
    """A bar a planner, the mean of the seeds, with a dot for each seed; as SVG."""
    planners = list(dict.fromkeys(str(row["planner"]) for row in rows))
    figure = Figure(figsize=(12, 3), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    panels[0].invert_yaxis()  # the first planner on top
    for axes, (name, label) in zip(panels, PANELS, strict=True):
        for place, planner in enumerate(planners):
            values = [float(row[name]) for row in rows if row["planner"] == planner]
            axes.barh(place, mean(values), color="tab:blue" if place < 2 else "lightgrey")
            axes.plot(values, [place] * len(values), "k.", markersize=4)
        axes.set(title=label, yticks=range(len(planners)), yticklabels=planners)
    figure.savefig(path)
