"""What the fleet's reports say of a family before a device has any of its own: medians, in epochs.

Devices lie and break, so nothing here is a mean: of each student the median of what devices
measured over the table, and robust spreads. The reports are folded into histograms, whose size does
not grow with the fleet; an epoch is a frozen prior, published when enough news is there, and part
of every plan that was made with it.
"""

from collections.abc import Iterable, Mapping
from math import sqrt

from pydantic import Field

from stillhouse.entities import Count, Digest, Entity, Student

PEOPLE_SD = 0.06  # of a person's offset from the table, until the fleet has shown its own
LEAST_PEOPLE_SD = 0.01
PEOPLE = 8  # devices whose word the spread assumed before counts as much as
NEWS, GROWTH = 8, 0.25  # an epoch is worth publishing from so many new reports, or such a share
NORMAL_MAD = 1.4826  # standard deviations in a median absolute deviation
MEDIAN_LOSS = 1.57  # variance of a median over that of a mean, of normal values

STEPS = {  # width of a histogram's bins
    "offset": 0.0025,  # accuracy: measured less the table's
    "variance": 0.000025,  # the square of an accuracy's standard error
    "gain": 0.01,  # log latency: quantised weights over what the probes say of float32
    "constant": 0.02,  # coefficients of the latency's shape, against the host's
    "layers": 0.02,
    "macs": 0.02,
    "power": 0.05,  # log mJ a ms
}
BINS = 400  # a side of 0: what lies further out counts as the last


class FleetPoint(Entity):
    """What devices measured of one student: the median, whatever single ones say."""

    student: Student
    offset: float = Field(description="median of measured accuracy less the table's")
    spread: float = Field(ge=0, description="over devices, 1.48 median absolute deviations")
    devices: int = Field(ge=1)


class FleetPrior(Entity):
    """One epoch of what the fleet knows of a family; immutable."""

    family_digest: Digest
    epoch: int = Field(ge=1)
    devices: Count
    reports: Count
    points: tuple[FleetPoint, ...]
    people_sd: float = Field(gt=0, description="of a person's offset from the table")
    quantised_gain: tuple[float, float] | None = Field(
        default=None, description="log latency over float32: median, spread"
    )
    shape: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0), description="of the latency, against the host's: cost.shape_ms"
    )
    power: tuple[float, float] | None = Field(
        default=None, description="log mJ a ms: median, spread"
    )


class Lesson(Entity):
    """What one device's report of one student tells the fleet; None is what it does not tell."""

    student: Student
    first: bool = Field(description="of this device: it counts as a device once")
    offset: float
    variance: float
    gain: float | None = None
    power: float | None = None
    shape: tuple[float, float, float] | None = None


Histogram = Mapping[int, int]  # bin -> count


class Experience(Entity):
    """All lessons of one family so far, as histograms: what the next epoch is made of."""

    family_digest: Digest
    devices: Count = 0
    reports: Count = 0
    students: tuple[tuple[Student, dict[int, int]], ...] = ()
    measures: dict[str, dict[int, int]] = {}

    def with_lessons(self, lessons: Iterable[Lesson]) -> "Experience":
        """With these counted as well."""
        students = {student: dict(counts) for student, counts in self.students}
        measures = {name: dict(counts) for name, counts in self.measures.items()}
        devices, reports = self.devices, self.reports
        for lesson in lessons:
            reports += 1
            _count(students.setdefault(lesson.student, {}), "offset", lesson.offset)
            told = {"gain": lesson.gain}
            if lesson.first:
                devices += 1
                shape = lesson.shape or (None, None, None)
                told |= {"offset": lesson.offset, "variance": lesson.variance}
                told |= {"power": lesson.power}
                told |= dict(zip(("constant", "layers", "macs"), shape, strict=True))
            for name, value in told.items():
                if value is not None:
                    _count(measures.setdefault(name, {}), name, value)
        return Experience(
            family_digest=self.family_digest,
            devices=devices,
            reports=reports,
            students=tuple(students.items()),
            measures=measures,
        )

    def epoch(self, before: FleetPrior | None) -> FleetPrior | None:
        """The epoch after `before`; None while too little is new."""
        known = before.reports if before else 0
        if self.reports - known < max(NEWS, GROWTH * known):
            return None
        points = []
        for student, counts in self.students:
            offset, spread = robust(counts, "offset")
            count = sum(counts.values())
            points.append(FleetPoint(student=student, offset=offset, spread=spread, devices=count))
        enough = {
            name: robust(counts, name)
            for name, counts in self.measures.items()
            if sum(counts.values()) >= NEWS
        }

        def at(name: str) -> float:
            return enough.get(name, (0.0, 0.0))[0]

        return FleetPrior(
            family_digest=self.family_digest,
            epoch=(before.epoch if before else 0) + 1,
            devices=self.devices,
            reports=self.reports,
            points=tuple(points),
            people_sd=self._people_sd(),
            quantised_gain=enough.get("gain"),
            shape=(at("constant"), at("layers"), at("macs")),
            power=enough.get("power"),
        )

    def _people_sd(self) -> float:
        """Of true offsets: the devices' spread less their measurements' noise; what was assumed
        counts as `PEOPLE` more devices."""
        if not self.devices:
            return PEOPLE_SD
        spread = robust(self.measures["offset"], "offset")[1]
        noise = robust(self.measures["variance"], "variance")[0]
        shown = max(spread**2 - noise, LEAST_PEOPLE_SD**2)
        whole = PEOPLE + self.devices
        return sqrt((PEOPLE * PEOPLE_SD**2 + self.devices * shown) / whole)


def robust(counts: Histogram, name: str) -> tuple[float, float]:
    """Median and 1.48 median absolute deviations of a histogram, to a bin's width."""
    middle = _quantile(counts)
    away: dict[int, int] = {}
    for at, count in counts.items():
        away[abs(at - middle)] = away.get(abs(at - middle), 0) + count
    return middle * STEPS[name], _quantile(away) * STEPS[name] * NORMAL_MAD


def _quantile(counts: Histogram) -> int:
    """The bin of the lower median."""
    left = (sum(counts.values()) + 1) // 2
    for at in sorted(counts):
        left -= counts[at]
        if left <= 0:
            return at
    raise ValueError("the median of nothing")


def _count(counts: dict[int, int], name: str, value: float) -> None:
    at = min(max(round(value / STEPS[name]), -BINS), BINS)
    counts[at] = counts.get(at, 0) + 1
