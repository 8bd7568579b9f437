"""What a dry run answers: the plan that a job would begin with, what it should come to, what else
there was. Intervals go from the 10th to the 90th percentile; bytes are of the first round.
"""

from typing import Literal

from pydantic import Field

from stillhouse.entities import Constraint, Count, Entity, Fraction, Plan, Student, Verdict, Word


class Interval(Entity):
    """What is expected, and between which values four of five devices lie."""

    expected: float
    low: float = Field(description="10th percentile")
    high: float = Field(description="90th percentile")


class Estimate(Entity):
    """What a student should measure on the device, and what its chunks take on the wire."""

    student: Student
    accuracy: Interval
    latency_p95_ms: Interval
    bytes: Interval
    chance: Fraction = Field(description="that every limit of the profile holds")


class Reason(Word):
    """Why a student is not the one that is planned; the first that is true."""

    TOO_BIG = "too_big"  # storage, memory or training memory
    TOO_SLOW = "too_slow"  # latency or energy, beyond hope
    RULED_OUT = "ruled_out"  # by what the device measured
    LESS_LIKELY = "less_likely"
    MORE_BYTES = "more_bytes"  # at the same chance


class Rejected(Entity):
    """A student that is not planned, and why."""

    student: Student
    reason: Reason
    constraint: Constraint | None = Field(default=None, description="the limit in the way")
    why: str


class Preview(Entity):
    """What submitting this job would begin with; nothing was created."""

    central_model_version: str = Field(description="name@version, as it resolves now")
    basis: Literal["probes", "fleet", "host"] = Field(
        description="of the latencies: this device's probes, other devices, or the cluster's host"
    )
    prior_epoch: Count = Field(description="of the fleet's prior; 0: none yet")
    plan: Plan | None = Field(description="null where the verdict is known already")
    estimate: Estimate | None = Field(description="of the planned student")
    rejected: dict[Reason, Count] = Field(description="how many students, by reason")
    nearest: tuple[Rejected, ...] = Field(description="those that came closest, the closest first")
    pareto: tuple[Estimate, ...] = Field(
        description="of those that fit: none other is as good in accuracy, latency and bytes"
    )
    verdict: Verdict | None = Field(description="INFEASIBLE with counter-offers, or null")
