"""A dry run: the first plan of a job that is not there, its intervals, alternatives and trade-offs.

Pure, and made from the same belief as the plan itself.
"""

from collections import Counter
from math import exp

import numpy as np

from stillhouse.chunks import behaviour_bytes
from stillhouse.cost import Floats
from stillhouse.entities import BehaviourRecipe, Constraint, Plan
from stillhouse.estimates import Estimate, Interval, Preview, Reason, Rejected
from stillhouse.limits import NAMES, SIZES, in_words, limit
from stillhouse.offers import HOPELESS, infeasible
from stillhouse.outlook import TIE, Outlook, PlanInput, believe, look
from stillhouse.planner import next_round

LOW, HIGH = 0.1, 0.9
NEAREST = 12
BEHAVIOUR_ERROR = 0.1  # of the bytes foretold for behaviour: they are packed
SEALING = 0.02  # what frames and seals may add to all bytes


def preview(given: PlanInput, version: str) -> Preview:
    """What a job on `version` (name@version) would begin with."""
    outlook = look(believe(given), given.spec)
    verdict = infeasible(outlook)
    plan = None if verdict else next_round(outlook)
    chosen = outlook.belief.students.index(plan.student) if plan else None
    bytes_of = _bytes(outlook, plan)
    rejected = {
        index: _rejected(outlook, index) for index in range(len(outlook.fits)) if index != chosen
    }
    counts = Counter(each.reason for each in rejected.values())
    return Preview(
        central_model_version=version,
        basis="probes" if given.probes else "fleet" if given.fleet else "host",
        prior_epoch=given.fleet.epoch if given.fleet else 0,
        plan=plan,
        estimate=None if chosen is None else _estimate(outlook, chosen, bytes_of),
        rejected={reason: counts[reason] for reason in Reason if counts[reason]},
        nearest=tuple(rejected[index] for index in _closest(outlook) if index in rejected)[
            :NEAREST
        ],
        pareto=tuple(_estimate(outlook, index, bytes_of) for index in _front(outlook, bytes_of[0])),
        verdict=verdict,
    )


def _bytes(outlook: Outlook, plan: Plan | None) -> tuple[Floats, float]:
    """New bytes of each student's weights, and of the behaviour that the device lacks."""
    given = outlook.belief.given
    new_bytes = outlook.belief.new_bytes()
    weights = np.array([new_bytes(index) for index in range(len(outlook.fits))], float)
    recipes = plan.chunks if plan else ()
    behaviour = sum(
        behaviour_bytes(given.table, recipe)
        for recipe in recipes
        if isinstance(recipe, BehaviourRecipe) and recipe not in given.held
    )
    return weights, behaviour


def _estimate(outlook: Outlook, index: int, sizes: tuple[Floats, float]) -> Estimate:
    belief, weights, behaviour = outlook.belief, float(sizes[0][index]), sizes[1]
    expected, low, high = (
        min(max(belief.accuracy.quantile(index, chance), 0.0), 1.0) for chance in (0.5, LOW, HIGH)
    )
    return Estimate(
        student=belief.students[index],
        accuracy=Interval(expected=expected, low=low, high=high),
        latency_p95_ms=Interval(
            expected=exp(belief.latency.quantile(index, 0.5)),
            low=exp(belief.latency.quantile(index, LOW)),
            high=exp(belief.latency.quantile(index, HIGH)),
        ),
        bytes=Interval(
            expected=weights + behaviour,
            low=weights + (1 - BEHAVIOUR_ERROR) * behaviour,
            high=(weights + (1 + BEHAVIOUR_ERROR) * behaviour) * (1 + SEALING),
        ),
        chance=float(outlook.chance[index]),
    )


def _rejected(outlook: Outlook, index: int) -> Rejected:
    """The first thing that is wrong with a student."""
    belief, spec = outlook.belief, outlook.spec
    over = [size for size in SIZES if belief.needs[size][index] > limit(spec, size)]
    constraint = None
    if over:
        constraint, reason = over[0], Reason.TOO_BIG
        need = in_words(constraint, belief.needs[constraint][index])
        why = f"needs {need} of {NAMES[constraint]}, {_allowed(outlook, constraint)}"
    elif outlook.too_large[index] or outlook.too_small[index] or outlook.spent[index]:
        reason, why = Reason.RULED_OUT, "ruled out by what the device measured"
    elif outlook.in_time[index] < HOPELESS:
        constraint, reason = outlook.slow(index), Reason.TOO_SLOW
        costs = belief.latency if constraint is Constraint.LATENCY else belief.energy
        assert costs is not None  # noqa: S101  a limit without a cost slows nothing
        need = in_words(constraint, exp(float(costs.mean[index])))
        why = f"takes about {need}, {_allowed(outlook, constraint)}"
    elif outlook.chance[index] < outlook.chance[outlook.open].max() * (1 - TIE):
        weak = Constraint.ACCURACY
        if outlook.in_time[index] < outlook.accurate[index]:
            weak = outlook.slow(index)
        constraint, reason = weak, Reason.LESS_LIKELY
        why = (
            f"a chance of {outlook.chance[index]:.0%}, most in doubt of its {NAMES[weak]} "
            f"({outlook.accurate[index]:.0%} accurate enough, {outlook.in_time[index]:.0%} in time)"
        )
    else:
        reason = Reason.MORE_BYTES
        why = f"as likely ({outlook.chance[index]:.0%}), for more bytes"
    return Rejected(student=belief.students[index], reason=reason, constraint=constraint, why=why)


def _allowed(outlook: Outlook, constraint: Constraint) -> str:
    return f"of {in_words(constraint, limit(outlook.spec, constraint))} allowed"


def _closest(outlook: Outlook) -> list[int]:
    """Students by their chance if size were no limit, times how far each size is exceeded."""
    score = outlook.accurate * outlook.in_time
    for size in SIZES:
        score = score * np.minimum(1.0, limit(outlook.spec, size) / outlook.belief.needs[size])
    return [int(index) for index in np.argsort(-score, kind="stable")]


def _front(outlook: Outlook, weights: Floats) -> list[int]:
    """Of the students that fit, those that no other beats in one thing and equals in the rest."""
    costs = np.stack([-outlook.belief.accuracy.mean, outlook.belief.latency.mean, weights], 1)
    fitting = [int(index) for index in outlook.fits.nonzero()[0]]
    among = costs[fitting]

    def beaten(index: int) -> bool:
        here = costs[index]
        return bool(((among <= here).all(1) & (among < here).any(1)).any())

    front = [index for index in fitting if not beaten(index)]
    return sorted(front, key=lambda index: float(weights[index]))
