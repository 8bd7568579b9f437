"""The planner against what else could choose students, on the same devices and profiles.

Every planner plays every device in turn: it proposes a student, the device measures it. A success
is a profile that some student meets, ended with one that truly does; rounds are those of successes.
False accepts are a share of what was accepted, false infeasible of the profiles that could be met.
What was tuned was tuned on grounds 101 to 103, which are never reported.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from statistics import mean, median

from rich.progress import track

from benchmarks.knowledge import rivals
from benchmarks.knowledge.ground import Device, Ground, Spread, profile, spreads
from benchmarks.knowledge.grounds import calibrated, sampled
from benchmarks.knowledge.planner_plot import draw
from benchmarks.report import Measured, Value
from stillhouse.contribution import lesson
from stillhouse.cost import Family
from stillhouse.entities import (
    Constraint,
    DistillationMetric,
    FamilyTable,
    ProfileSpec,
    Student,
    Verdict,
    VerdictKind,
)
from stillhouse.fleet import Experience, FleetPrior
from stillhouse.limits import accuracy_floor, missed, with_limits
from stillhouse.planner import PlanInput, plan
from stillhouse.verdict import judge

SEEDS = (11, 12, 13)  # of families that nothing was tuned on
DATA = ("wrist", "mnist")
DEVICES, LONG_DEVICES = 167, 500  # a family
FEW, LONG_FEW = 24, 60  # of those, for the Bayesian optimisation, which takes its time
MAX_ROUNDS = rivals.MAX_ROUNDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one planner fared with one device."""

    kind: VerdictKind
    rounds: int
    student: Student | None
    offers_true: int = 0
    offers: int = 0


@dataclass(slots=True)
class Fleet:
    """The prior as it grows while one device after another comes."""

    ground: Ground
    prior: FleetPrior | None = None
    experience: Experience = field(init=False)
    family: Family = field(init=False)

    def __post_init__(self) -> None:
        self.family = Family.of(self.ground.table)
        self.experience = Experience(family_digest=self.ground.table.family_digest)

    def learn(self, given: PlanInput) -> None:
        """From a device's reports; a device counts once a student."""
        first = {report.student: report for report in reversed(given.reports)}
        told = [report for report in given.reports if first[report.student] is report]
        self.experience = self.experience.with_lessons(
            lesson(self.family, given.probes, report, first=report is given.reports[0])
            for report in told
        )
        self.prior = self.experience.epoch(self.prior) or self.prior


Player = Callable[[Device, ProfileSpec], Outcome]


def ours(
    device: Device,
    spec: ProfileSpec,
    fleet: Fleet | None = None,
    table: FamilyTable | None = None,
) -> Outcome:
    """Plan, measure, judge, until the verdict; what comes out is told to the fleet."""
    given = PlanInput(
        spec=spec,
        table=table or device.ground.table,
        probes=device.probes(),
        fleet=fleet.prior if fleet else None,
        max_rounds=MAX_ROUNDS,
    )
    given, verdict = played(device, given)
    if fleet and given.reports:
        fleet.learn(given)
    held = [holds(device, spec, offer.limits, offer.student) for offer in verdict.counter_offers]
    return Outcome(verdict.kind, len(given.reports), verdict.student, sum(held), len(held))


def played(device: Device, given: PlanInput) -> tuple[PlanInput, Verdict]:
    """The whole loop on one device: the last input, and the verdict."""
    for round in range(1, given.max_rounds + 1):
        given = given.model_copy(update={"round": round})
        made = plan(given)
        if isinstance(made, Verdict):
            return given, made
        reports = (*given.reports, device.report(made.student, round))
        given = given.model_copy(update={"reports": reports})
        verdict = judge(given)
        if verdict.kind is not VerdictKind.ADJUST:
            return given, verdict
        given = given.model_copy(update={"next_action": verdict.next_action})
    raise AssertionError("the loop ends within its rounds")


def holds(
    device: Device, spec: ProfileSpec, limits: Mapping[Constraint, float], student: Student
) -> bool:
    """Whether a counter-offer's student is within the relaxed limits, in truth."""
    return bool(device.meets(with_limits(spec, limits))[device.ground.place(student)])


def rival(among: rivals.Rival) -> Player:
    """Takes the first student that measures within every limit."""

    def play(device: Device, spec: ProfileSpec) -> Outcome:
        table = device.ground.table
        floor = accuracy_floor(spec, table.registered_accuracy)
        following = among(table, spec, device.seed)
        reports: list[DistillationMetric] = []
        for round in range(1, MAX_ROUNDS + 1):
            at = following(reports)
            if at is None:
                break
            reports.append(device.report(table.rows[at].student, round))
            if not missed(spec, floor, reports[-1]):
                return Outcome(VerdictKind.MET, round, reports[-1].student)
        kind = VerdictKind.BEST_EFFORT if reports else VerdictKind.INFEASIBLE
        return Outcome(kind, len(reports), None)

    return play


def from_macs(ground: Ground) -> Player:
    """Our planner, were latency a matter of MACs alone."""
    rows = tuple(row.model_copy(update={"layers": 1}) for row in ground.table.rows)
    return partial(ours, table=ground.table.model_copy(update={"rows": rows}))


def strict(device: Device, spec: ProfileSpec, fleet: Fleet) -> Outcome:
    return ours(device, spec.model_copy(update={"strict": True}), fleet)


def players(ground: Ground) -> dict[str, Player]:
    """All of them, by name; each of ours with a fleet of its own."""
    return {
        "planner": partial(ours, fleet=Fleet(ground)),
        "strict": partial(strict, fleet=Fleet(ground)),
        "without_fleet": ours,
        "latency_from_macs": from_macs(ground),
        "random_search": rival(rivals.at_random),
        "uniform_shrinking": rival(rivals.shrinking),
        "flat_bayesian": rival(rivals.bayesian),
    }


def measure(long: bool) -> Measured:
    """Means of the seeds; `flat_bayesian` plays the first devices of each, and what is said of it
    against the planner is of those devices."""
    count, few = (LONG_DEVICES, LONG_FEW) if long else (DEVICES, FEW)
    every = [(name, seed) for name in DATA for seed in SEEDS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = pool.map(sampled, *zip(*every, strict=True))
        samples = list(track(parts, "training students on clients", total=len(every)))
        by_data = [samples[at : at + len(SEEDS)] for at in range(0, len(every), len(SEEDS))]
        found = [spread for each in by_data for spread in spreads(each)]
        wanted = [(*each, spread, count, few) for each, spread in zip(every, found, strict=True)]
        playing = pool.map(compared, wanted)
        rows = [row for part in track(playing, "devices", total=len(every)) for row in part]
    return Measured(metrics(rows), tuple(rows), partial(draw, rows))


def compared(wanted: tuple[str, int, Spread, int, int]) -> list[dict[str, Value]]:
    """A row for each planner; devices are interleaved, so that all meet the same machine."""
    name, seed, spread, count, few = wanted
    ground = calibrated(name, seed, spread)
    playing, games = players(ground), list(devices(ground, seed, count))
    outcomes: dict[str, list[Outcome]] = {name: [] for name in playing}
    for number, (device, spec, _) in enumerate(games):
        for name, play in playing.items():
            if name != "flat_bayesian" or number < few:
                outcomes[name].append(play(device, spec))
    rows: list[dict[str, Value]] = [
        {"ground": ground.name, "seed": seed, "planner": name, **scored(games, found)}
        for name, found in outcomes.items()
    ]
    same = {"ground": ground.name, "seed": seed, "planner": "planner_beside_flat_bayesian"}
    rows.append({**same, **scored(games, outcomes["planner"][:few])})
    rows[0]["plan_ms"] = plan_ms(games[:20])
    rows[0] |= asdict(spread)
    return rows


def devices(ground: Ground, seed: int, count: int) -> Iterator[tuple[Device, ProfileSpec, bool]]:
    for number in range(count):
        device = Device.drawn(ground, 1_000_000 * seed + number)
        yield (device, *profile(device))


def scored(
    games: Sequence[tuple[Device, ProfileSpec, bool]], outcomes: Sequence[Outcome]
) -> dict[str, Value]:
    """Shares and mean rounds of one planner."""
    played = list(zip(games, outcomes, strict=False))
    possible = [(game, outcome) for game, outcome in played if game[2]]
    met = [(game, outcome) for game, outcome in played if outcome.kind is VerdictKind.MET]
    false = [1 for (device, spec, _), outcome in met if not truly(device, spec, outcome)]
    rounds = [
        outcome.rounds for (device, spec, _), outcome in possible if truly(device, spec, outcome)
    ]
    refused = sum(outcome.kind is VerdictKind.INFEASIBLE for _, outcome in possible)
    offers = sum(outcome.offers for outcome in outcomes)
    return {
        "devices": len(played),
        "rounds": mean(rounds) if rounds else 0.0,
        "success": len(rounds) / max(len(possible), 1),
        "false_accepts": len(false) / max(len(met), 1),
        "false_infeasible": refused / max(len(possible), 1),
        "offers": offers,
        "offers_true": sum(outcome.offers_true for outcome in outcomes) / max(offers, 1),
    }


def truly(device: Device, spec: ProfileSpec, outcome: Outcome) -> bool:
    """It was accepted, and its student is within every limit in truth."""
    if outcome.kind is not VerdictKind.MET or outcome.student is None:
        return False
    return bool(device.meets(spec)[device.ground.place(outcome.student)])


def plan_ms(games: Iterable[tuple[Device, ProfileSpec, bool]]) -> float:
    """CPU time of a first plan: the median over devices."""
    spent = []
    for device, spec, _ in games:
        given = PlanInput(spec=spec, table=device.ground.table, probes=device.probes())
        began = time.process_time()
        plan(given)
        spent.append(time.process_time() - began)
    return 1e3 * median(spent)


def metrics(rows: Sequence[dict[str, Value]]) -> dict[str, float]:
    def over_seeds(planner: str, name: str) -> float:
        return mean(float(row[name]) for row in rows if row["planner"] == planner)

    beside = over_seeds("planner_beside_flat_bayesian", "rounds")
    return {
        "rounds_to_success": over_seeds("planner", "rounds"),
        "success": over_seeds("planner", "success"),
        "false_accepts": over_seeds("planner", "false_accepts"),
        "false_infeasible": over_seeds("planner", "false_infeasible"),
        "rounds_saved_vs_flat_bo": 1 - beside / over_seeds("flat_bayesian", "rounds"),
        "strict_success": over_seeds("strict", "success"),
        "strict_false_accepts": over_seeds("strict", "false_accepts"),
        "counter_offers_true": over_seeds("planner", "offers_true"),
        "plan_ms": mean(float(row["plan_ms"]) for row in rows if "plan_ms" in row),
    }
