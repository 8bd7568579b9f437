"""What every student of a family is worth before any training, over its bytes."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.report import Value

BITS = ("fp32", "int8", "int4")


def draw(rows: Sequence[dict[str, Value]], path: Path) -> None:
    """A panel a data set; the line is the central model."""
    students = [row for row in rows if row["kind"] == "student"]
    names = list(dict.fromkeys(str(row["data"]) for row in students))
    figure = Figure(figsize=(5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        here = [row for row in students if row["data"] == name]
        for bits in BITS:
            of = [row for row in here if str(row["student"]).endswith(bits)]
            sizes = [float(row["bytes"]) / 1000 for row in of]
            axes.plot(sizes, [float(row["accuracy"]) for row in of], ".", label=bits)
        whole = [float(row["central_accuracy"]) for row in here]
        axes.axhline(sum(whole) / len(whole), linewidth=0.8, label="central model, mean")
        axes.set(xscale="log", xlabel="kB on the wire", title=f"{name}: zero-shot accuracy")
        axes.legend(fontsize=7)
    figure.savefig(path)
