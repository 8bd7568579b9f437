"""Why no student can do, and which limit would have to give: solve again without each of them."""

from collections.abc import Iterable
from itertools import combinations
from math import exp, inf, log, sqrt

from stillhouse.entities import Constraint, CounterOffer, ProfileSpec, Verdict, VerdictKind
from stillhouse.limits import (
    LIFTED,
    NAMES,
    SIZES,
    in_words,
    lifted,
    limit,
    measured,
    missed,
    rounded_up,
    with_limits,
)
from stillhouse.outlook import TIE, Outlook, look

HOPELESS = 0.005  # a smaller chance is none
OFFER = 0.9  # the chance at which relaxed limits are offered
AIM = 0.98  # the chance that an offer has where that can be reached
UNMEASURED = 1.06  # of the table's memory: what a runtime may take beyond it, before any report
MOST_LIMITS = 3  # that one offer relaxes
NO_OFFER = f"No change of up to {MOST_LIMITS} limits has a chance of {OFFER:.0%} yet."
LEAST_DROP = 0.01  # of accuracy: a smaller one counts as this where growth is compared
OWN_REPORTS = 2  # before accuracy can rule out everything: the first may be bad luck

Limits = dict[Constraint, float]


def infeasible(outlook: Outlook) -> Verdict | None:
    """The verdict that no student can meet the profile, if that can be shown by now."""
    shown = (
        _too_big(outlook)
        or _too_slow(outlook)
        or _measured_too_large(outlook)
        or _hopeless(outlook)
    )
    if shown is None:
        return None
    cause, why = shown
    binding = _binding(outlook) or cause
    offers = counter_offers(outlook)
    return Verdict(
        kind=VerdictKind.INFEASIBLE,
        why=" ".join([why, *(map(_in_words, offers) if offers else (NO_OFFER,))]),
        binding_constraint=binding,
        counter_offers=offers,
    )


def counter_offers(outlook: Outlook) -> tuple[CounterOffer, ...]:
    """For each limit that would do it alone: the least value at which some student has a chance of
    `OFFER`, rounded up, with the student and the chance that a plan under it would have. Where none
    does, the cheapest two limits together that do, or three; none where even those would not."""
    declared = [c for c in Constraint if limit(outlook.spec, c) < inf]
    if alone := _offers(outlook, ((constraint,) for constraint in declared)):
        return tuple(alone)
    for together in (2, MOST_LIMITS):
        if offers := _offers(outlook, combinations(declared, together)):
            return (min(offers, key=lambda offer: _stretch(outlook.spec, offer.limits)),)
    return ()


def _too_big(outlook: Outlook) -> tuple[Constraint, str] | None:
    if outlook.fits.any():
        return None
    needs = outlook.belief.needs
    limits = {size: limit(outlook.spec, size) for size in SIZES}
    cause = max(SIZES, key=lambda size: int((needs[size] > limits[size]).sum()))
    short = [
        f"{NAMES[size]} is limited to {in_words(size, limits[size])}, and the smallest student "
        f"needs {in_words(size, needs[size].min())}"
        for size in SIZES
        if needs[size].min() > limits[size]
    ]
    detail = "; ".join(short) or "each size limit alone leaves some, all together none"
    return cause, f"None of {len(outlook.fits)} students fits: {detail}."


def _too_slow(outlook: Outlook) -> tuple[Constraint, str] | None:
    if (outlook.fits & (outlook.in_time >= HOPELESS)).any():
        return None
    belief, spec = outlook.belief, outlook.spec
    fitting = outlook.fits.nonzero()[0]
    fastest = min(map(int, fitting), key=lambda index: belief.latency.mean[index])
    cause = outlook.slow(fastest)
    costs = belief.energy if belief.energy and cause is Constraint.ENERGY else belief.latency
    expected = in_words(cause, exp(float(costs.mean[fastest])))
    known = "what it measured" if belief.given.seen else "the device's probes"
    return cause, (
        f"No student that fits is fast enough: by {known}, {belief.students[fastest]} takes "
        f"{expected}, and the limit of {NAMES[cause]} allows {in_words(cause, limit(spec, cause))}."
    )


def _measured_too_large(outlook: Outlook) -> tuple[Constraint, str] | None:
    if (outlook.fits & ~outlook.too_large).any():
        return None
    spec = outlook.spec
    for report in reversed(outlook.belief.given.seen):
        over = [c for c in missed(spec, outlook.floor, report) if c is not Constraint.ACCURACY]
        if over:
            value, allowed = measured(report, over[0]) or 0.0, limit(spec, over[0])
            return over[0], (
                f"{report.student} measured {NAMES[over[0]]} {in_words(over[0], value)} of "
                f"{in_words(over[0], allowed)} allowed, and no student that fits is smaller."
            )
    return None


def _hopeless(outlook: Outlook) -> tuple[Constraint, str] | None:
    belief = outlook.belief
    if len(belief.given.reports) < OWN_REPORTS or outlook.chance.max() >= HOPELESS:
        return None
    possible = (outlook.fits & (outlook.in_time >= HOPELESS)).nonzero()[0]
    best = max(map(int, possible), key=lambda index: belief.accuracy.mean[index])
    return Constraint.ACCURACY, (
        f"After {len(belief.given.reports)} reports no student has even a chance of "
        f"{HOPELESS:.1%}: {belief.students[best]} is the best of those that are small and fast "
        f"enough, with an accuracy of {belief.accuracy.mean[best]:.3f} +- "
        f"{belief.accuracy.sd[best]:.3f} for at least {outlook.floor:.3f}."
    )


def _binding(outlook: Outlook) -> Constraint | None:
    """The limit whose fall alone restores the best chance; where nothing fits, one of size."""
    eligible = [c for c in Constraint if limit(outlook.spec, c) < inf]
    if not outlook.fits.any():
        eligible = [constraint for constraint in eligible if constraint in SIZES]
    chances = {
        constraint: look(outlook.belief, lifted(outlook.spec, constraint)).chance.max()
        for constraint in eligible
    }
    best = max(eligible, key=lambda constraint: chances[constraint])
    return best if chances[best] >= HOPELESS else None


def _offers(outlook: Outlook, relaxing: Iterable[tuple[Constraint, ...]]) -> list[CounterOffer]:
    offers = (_offer(outlook, constraints) for constraints in relaxing)
    return [offer for offer in offers if offer is not None]


def _offer(outlook: Outlook, relaxing: tuple[Constraint, ...]) -> CounterOffer | None:
    """The least change of these limits, and of no other, that gives some student its chance."""
    spec, free = outlook.spec, look(outlook.belief, lifted(outlook.spec, *relaxing))
    best = free.chance[free.open].max(initial=0.0)
    least = OFFER / (1 - TIE)  # so that what is chosen among ties has the chance, too
    wanted = max(least, min(AIM, 0.99 * float(best)))
    able = map(int, (free.open & (free.chance >= wanted)).nonzero()[0])
    needed = [_needed(free, relaxing, index, wanted) for index in able]
    # A limit that need not give is not what is in the way.
    changes = [each for each in needed if all(each[c] > limit(spec, c) for c in relaxing)]
    changes.sort(key=lambda each: _stretch(spec, each))
    tried = (_under(outlook, each) for each in changes)
    return next((offer for offer in tried if offer is not None), None)


def _under(outlook: Outlook, needed: Limits) -> CounterOffer | None:
    """What would be planned under these limits, rounded up, if that has the chance of an offer."""
    limits = {c: min(rounded_up(value), LIFTED[c] or inf) for c, value in needed.items()}
    relaxed = look(outlook.belief, with_limits(outlook.spec, limits))
    index = relaxed.choice()
    chance = float(relaxed.chance[index])
    if chance < OFFER:
        return None
    return CounterOffer(limits=limits, chance=chance, student=outlook.belief.students[index])


def _needed(free: Outlook, relaxing: tuple[Constraint, ...], index: int, wanted: float) -> Limits:
    """The limits under which student `index` has the chance `wanted`, where `free` has none."""
    belief = free.belief
    share = min(wanted / float(free.chance[index]), 0.999)
    if Constraint.ACCURACY in relaxing and set(relaxing) & {Constraint.LATENCY, Constraint.ENERGY}:
        share = sqrt(share)  # each of the two must leave the other its part of the doubt

    def needed(constraint: Constraint) -> float:
        match constraint:
            case Constraint.LATENCY:
                return exp(belief.latency.quantile(index, share))
            case Constraint.ENERGY:
                return exp(belief.energy.quantile(index, share)) if belief.energy else 0.0
            case Constraint.ACCURACY:
                registered = belief.given.table.registered_accuracy
                return registered - belief.accuracy.quantile(index, 1 - share)
        measured_there = belief.given.seen or constraint is Constraint.STORAGE
        return float(belief.needs[constraint][index]) * (1 if measured_there else UNMEASURED)

    return {constraint: needed(constraint) for constraint in relaxing}


def _stretch(spec: ProfileSpec, limits: Limits) -> float:
    """How much is asked for: the factors by which the limits grow, multiplied (in logarithms)."""
    return sum(
        log(max(value, LEAST_DROP) / max(limit(spec, constraint), LEAST_DROP))
        if constraint is Constraint.ACCURACY
        else log(value / limit(spec, constraint))
        for constraint, value in limits.items()
    )


def _in_words(offer: CounterOffer) -> str:
    limits = " and ".join(
        f"{NAMES[c]}{' drop' if c is Constraint.ACCURACY else ''} {in_words(c, value)}"
        for c, value in offer.limits.items()
    )
    return f"With {limits} allowed, {offer.student} would do (chance {offer.chance:.0%})."
