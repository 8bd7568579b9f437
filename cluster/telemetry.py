"""The metrics, each named once; Ray exports them to Prometheus as `ray_<name>`.

No client, job or model is a tag: a metric has as many series as its tags have values.
"""

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from stillhouse.entities import VerdictKind


class Telemetry:
    """What one process counts. Without Ray running the counts go nowhere."""

    def __init__(self) -> None:
        self.transitions = Counter(
            "stillhouse_transitions", "Committed events, by their class", ("event",)
        )
        self.jobs = Gauge("stillhouse_jobs", "Jobs of this shard, by state", ("state",))
        self.sent_bytes = Counter(
            "stillhouse_sent_bytes",
            "Sealed bytes that left a chunk server, by chunk kind",
            ("kind",),
        )
        self.verdicts = Counter(
            "stillhouse_verdicts", "Distillation jobs that ended, by verdict", ("verdict",)
        )
        self.rounds = Counter("stillhouse_rounds", "Rounds that were planned")

    def count_transition(self, event: object) -> None:
        self.transitions.inc(tags={"event": type(event).__name__})

    def set_jobs(self, by_state: Mapping[str, int]) -> None:
        for state, jobs in by_state.items():
            self.jobs.set(jobs, tags={"state": state})

    def count_sent(self, kind: str, sent_bytes: int) -> None:
        self.sent_bytes.inc(sent_bytes, tags={"kind": kind})

    def count_verdict(self, verdict: VerdictKind) -> None:
        self.verdicts.inc(tags={"verdict": verdict.value})

    def count_round(self) -> None:
        self.rounds.inc()
