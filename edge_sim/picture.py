"""One picture of a run: test accuracy against bytes, with the central model and the limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from edge_sim.report import JobReport, Report

SIZE_INCHES, DPI = (12, 8), 100
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito
MARKERS = {
    "quantise_only": "s",
    "scratch": "x",
    "owner_alone": "^",
    "without_behaviour": "v",
    "random_fitting": "+",
    "central_personalised": "D",
}
PLACES = ((10, 8), (10, -16), (10, 24), (10, -32), (-10, 12), (-10, -20), (10, 40), (-10, 28))
LIGHT = 0.55


def draw(report: Report, file: Path) -> None:
    """Write the picture as PNG, 1200 x 800."""
    figure, axes = plt.subplots(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    fill(axes, report)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    plt.close(figure)


def fill(axes: Axes, report: Report) -> None:
    """Everything that is drawn, from the report alone."""
    whole = report.central_model_bytes
    axes.set_xscale("log")
    axes.set_xlabel("bytes: sent to the device (students), or of the weights (others)")
    axes.set_ylabel("accuracy on the person's test windows")
    axes.set_title(f"Seed {report.seed}: students on their devices, and what else could be done")
    axes.grid(alpha=0.25)
    axes.axvline(whole / 10, color="grey", linestyle="--", linewidth=1)
    axes.axvline(whole, color="grey", linestyle=":", linewidth=1)
    for job in report.jobs:
        others(axes, job)
    central(axes, report)
    shown = [job for job in report.jobs if job.bytes_sent and job.student_test_accuracy is not None]
    for job in shown:
        product(axes, job)
    axes.legend(handles=legend(report), loc="lower right", fontsize=9, framealpha=0.9)
    label(axes, shown)
    for share, text in ((whole / 10, "10 % of the\ncentral model"), (whole, "central model")):
        axes.annotate(
            text, (share, 0.4), xycoords=("data", "axes fraction"), fontsize=8, color="grey",
            xytext=(-4, 2), textcoords="offset points", ha="right",
        )  # fmt: skip


def product(axes: Axes, job: JobReport) -> None:
    """The student as a dot with its standard error, and the least accuracy that was asked for."""
    at, colour = job.bytes_sent, colour_of(job)
    axes.errorbar(
        at, job.student_test_accuracy or 0, yerr=job.student_test_accuracy_se, fmt="o",
        color=colour, markersize=9, capsize=3, elinewidth=1, zorder=3,
    )  # fmt: skip
    floor = job.registered_accuracy - job.max_accuracy_drop
    axes.plot(at, floor, marker="_", markersize=22, markeredgewidth=2, color=colour, zorder=2)


def others(axes: Axes, job: JobReport) -> None:
    for each in job.baselines:
        axes.plot(
            each.storage_bytes, each.accuracy, marker=MARKERS[each.name], markersize=7,
            color=colour_of(job), alpha=LIGHT, linestyle="none",
        )  # fmt: skip


def central(axes: Axes, report: Report) -> None:
    """The central model on each person."""
    for person in {job.person: job for job in report.jobs}.values():
        axes.plot(
            report.central_model_bytes, person.oracle_central_accuracy, marker="*", markersize=16,
            color=colour_of(person), markeredgecolor="black", linestyle="none", zorder=3,
        )  # fmt: skip


def colour_of(job: JobReport) -> str:
    return COLOURS[job.person % len(COLOURS)]


def legend(report: Report) -> list[Line2D]:
    def mark(marker: str, text: str, colour: str = "black", size: float = 7) -> Line2D:
        return Line2D(
            [], [], marker=marker, color=colour, linestyle="none", label=text, markersize=size
        )

    people = {job.person: colour_of(job) for job in report.jobs}
    kinds = {each.name for job in report.jobs for each in job.baselines}
    return [
        mark("o", "the product's student, with its SE", size=9),
        mark("_", "the least accuracy its profile accepts", size=14),
        mark("*", "the central model (no device can hold it)", size=12),
        *(mark(MARKERS[name], name.replace("_", " ")) for name in MARKERS if name in kinds),
        *(mark("o", f"person {n}", colour) for n, colour in sorted(people.items())),
    ]


def label(axes: Axes, jobs: Sequence[JobReport]) -> None:
    """Each student's name and verdict, where it covers no other and stays inside."""
    axes.figure.canvas.draw()
    legend = axes.get_legend()
    taken: list[Bbox] = [legend.get_window_extent()] if legend else []
    for job in sorted(jobs, key=lambda each: each.bytes_sent):
        text = axes.annotate(
            f"{job.device} {job.verdict}", (job.bytes_sent, job.student_test_accuracy or 0),
            xytext=PLACES[0], textcoords="offset points", fontsize=9, color=colour_of(job),
            arrowprops={"arrowstyle": "-", "color": colour_of(job), "linewidth": 0.6},
        )  # fmt: skip
        taken.append(placed(axes, text, taken))


def placed(axes: Axes, text: Any, taken: Sequence[Bbox]) -> Bbox:
    """Move the text to the first free place; farther and farther out if need be."""
    inside = axes.get_window_extent()
    for ring in (1, 2, 3, 4):
        for across, up in PLACES:
            text.set_position((across * ring, up * ring))
            text.set_horizontalalignment("left" if across > 0 else "right")
            text.update_positions(text.figure.canvas.get_renderer())
            box: Bbox = Text.get_window_extent(text)  # without its line
            free = not any(box.overlaps(other) for other in taken)
            if free and inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1:
                return box
    return box
