"""`stillhouse jobs plan`: the plan, its trade-offs and what came closest, for people."""

from simulated import LARGE_FAMILY, Device, spec_of

from stillhouse.cli.jobs import show_preview, span
from stillhouse.estimates import Interval
from stillhouse.planner import PlanInput
from stillhouse.preview import preview

DEVICE = Device(slowness=12)


def printed(capsys, **limits: float) -> str:
    given = PlanInput(spec=spec_of(**limits), table=LARGE_FAMILY, probes=DEVICE.probe(LARGE_FAMILY))
    found = preview(given, "wrist@3")
    show_preview(found)
    text: str = capsys.readouterr().out
    assert "wrist@3, latencies by probes" in text
    assert all(other.why.split()[0] in text for other in found.nearest)
    return text


def test_a_plan_is_shown_with_its_intervals_and_what_was_not_chosen(capsys):
    text = printed(capsys, storage_bytes=40_000, latency_p95_ms=2.8)
    assert "meets all limits with a chance of" in text
    assert "10 to 90 %" in text
    assert "not planned: " in text
    assert "too_big" in text


def test_a_verdict_is_shown_in_its_words(capsys):
    text = printed(capsys, storage_bytes=500)
    assert "storage is limited to 500 B" in text or "storage is limited to 0.5 kB" in text
    assert "would do (chance" in text


def test_an_interval_is_its_middle_and_its_ends():
    assert span(Interval(expected=0.9, low=0.85, high=0.95), ".2f") == "0.90 (0.85-0.95)"
