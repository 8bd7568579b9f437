"""The series that Prometheus reads at each node's metrics port, as `ray_stillhouse_...`.

`stillhouse.observations` says what a batch's events add; this module hands it to Ray, which adds
the worker's id. One `Metrics` a process: counters begin at zero with it, and readers sum them.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping

from ray.util.metrics import Counter, Gauge, Histogram

from stillhouse.observations import (
    BYTES_SENT,
    FAMILIES,
    JOBS,
    ROUNDS,
    TRANSITIONS,
    VERDICTS,
    Observation,
)

COUNTERS = {
    TRANSITIONS: ("moves of the nodes of job graphs", ("kind", "move")),
    VERDICTS: ("distillation jobs that ended with a verdict", ("verdict",)),
    FAMILIES: ("families stored, those found built included", ()),
    BYTES_SENT: ("sealed bytes of chunks that left a chunk server", ("kind",)),
}
COMMIT_S = "commit_seconds"
HISTOGRAMS = {
    ROUNDS: ("rounds of a distillation job that is over", [0.5, 1.5, 2.5, 3.5, 4.5, 6.5]),
    COMMIT_S: ("deciding on a batch and committing it", [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5]),
}


class Metrics:
    """What one actor reports; `publisher` tells its gauge from those of the other shards."""

    def __init__(self, publisher: str, jobs: Mapping[str, int]) -> None:
        """`jobs` are the distillation jobs by state that the journal holds already."""
        self._counters = {
            name: Counter(f"stillhouse_{name}", description=words, tag_keys=tags)
            for name, (words, tags) in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"stillhouse_{name}", description=words, boundaries=bounds)
            for name, (words, bounds) in HISTOGRAMS.items()
        }
        self._states = Gauge(
            "stillhouse_jobs",
            description="distillation jobs by state",
            tag_keys=("publisher", "state"),
        )
        self._publisher = publisher
        self._jobs: Tally[str] = Tally()
        self._show({(state,): count for state, count in jobs.items()})

    def record(self, observed: Iterable[Observation]) -> None:
        """Add what a batch came to; series that it touched often are told once."""
        added: Tally[tuple[str, tuple[str, ...]]] = Tally()
        for each in observed:
            if each.metric in self._histograms:
                self._histograms[each.metric].observe(each.value)
            else:
                added[each.metric, each.tags] += each.value
        self._show({tags: count for (metric, tags), count in added.items() if metric == JOBS})
        for (metric, tags), count in added.items():
            if metric != JOBS:
                names = COUNTERS[metric][1]
                self._counters[metric].inc(count, dict(zip(names, tags, strict=True)))

    def committed(self, seconds: float) -> None:
        """How long a batch took, from the first decision to the commit."""
        self._histograms[COMMIT_S].observe(seconds)

    def _show(self, changes: Mapping[tuple[str, ...], int]) -> None:
        for (state,), change in changes.items():
            self._jobs[state] += change
            tags = {"publisher": self._publisher, "state": state}
            self._states.set(self._jobs[state], tags)
