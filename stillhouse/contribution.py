"""What one device's report of a student tells its fleet: held against the table and its probes."""

from collections.abc import Sequence
from math import log

from stillhouse import cost
from stillhouse.cost import Family
from stillhouse.entities import DistillationMetric, ProbeResult
from stillhouse.fleet import Lesson
from stillhouse.limits import standard_error


def lesson(
    family: Family, probes: Sequence[ProbeResult], report: DistillationMetric, *, first: bool
) -> Lesson:
    """Of the device's `first` report, or of a later one's other student.

    KeyError if the family lacks the student.
    """
    at = family.at([report.student])[0]
    change = cost.shape_of(family, probes, family.host)[1] if probes else None
    gain = None
    if change is not None and report.student.bits < 32:
        gain = log(report.latency_p95_ms / float(cost.shape_ms(family, probes)[at]))
    energy = report.energy_mj
    return Lesson(
        student=report.student,
        first=first,
        offset=report.accuracy - family.table.rows[at].accuracy,
        variance=standard_error(report) ** 2,
        gain=gain,
        power=None if energy is None else log(energy / report.latency_p95_ms),
        shape=None if change is None else (float(change[0]), float(change[1]), float(change[2])),
    )
