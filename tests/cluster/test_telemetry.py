"""Metrics have few series: no tag names a client, a job or a model."""

import pytest

from cluster.telemetry import Telemetry
from stillhouse.entities import VerdictKind


def test_tags_are_of_closed_sets_alone() -> None:
    metrics = vars(Telemetry()).values()
    tags = {metric.info["name"]: metric.info["tag_keys"] for metric in metrics}
    assert tags == {
        "stillhouse_transitions": ("event",),
        "stillhouse_jobs": ("state",),
        "stillhouse_sent_bytes": ("kind",),
        "stillhouse_verdicts": ("verdict",),
        "stillhouse_rounds": (),
    }


def test_every_count_fits_the_tags_of_its_metric() -> None:
    telemetry = Telemetry()
    telemetry.count_transition(object())
    telemetry.set_jobs({"RUNNING": 2})
    telemetry.count_sent("weights", 1 << 20)
    telemetry.count_verdict(VerdictKind.MET)
    telemetry.count_round()
    with pytest.raises(ValueError, match="tag"):  # as a misspelt one would not
        telemetry.rounds.inc(tags={"client": "x"})
