"""What a transition costs with ever more clients, and what a restart and memory cost beside it."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.report import Value


def draw(rows: Sequence[dict[str, Value]], path: Path) -> None:
    """Three curves over the number of clients, as SVG."""
    clients = [float(row["clients"]) for row in rows]
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = (
        ("cpu_us_per_transition", "CPU a transition, µs"),
        ("restart_s", "restart to first answer, s"),
        ("rss_gib", "resident memory, GiB"),
    )
    for axes, (name, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.plot(clients, [float(row[name]) for row in rows], "o-")
        axes.set(xscale="log", xlabel="clients (4 shards)", title=label, ylim=(0, None))
    figure.savefig(path)
