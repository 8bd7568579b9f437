"""What the measurements say of the profile: the end of the loop, or what the next round should do.

It ends: a round either takes a student away or is one of a bounded number of repeats of it, and
after `max_rounds` the best student stays.
"""

from stillhouse import cost
from stillhouse.entities import Action, Constraint, DistillationMetric, Verdict, VerdictKind
from stillhouse.limits import NAMES, in_words, limit, measured, missed, standard_error
from stillhouse.offers import counter_offers, infeasible
from stillhouse.outlook import Outlook, PlanInput, accepted, believe, look, repeat, trials_of

PATIENCE = 0.8  # of the best chance: with less of it, the last student is not trained longer
SURPRISE = 1.25  # measured over predicted latency that is worth a word


def judge(given: PlanInput) -> Verdict:
    """The verdict on the last of `given.reports`, which is of round `given.round`."""
    outlook = look(believe(given), given.spec)
    report = given.reports[-1]
    at = outlook.belief.students.index(report.student)
    believed = accepted(given.spec, outlook.accurate[at], outlook.in_time[at])
    if believed and not missed(given.spec, outlook.floor, report):
        return _met(outlook, report)
    return infeasible(outlook) or _best_effort(outlook) or _adjust(outlook, report)


def _met(outlook: Outlook, report: DistillationMetric) -> Verdict:
    why = (
        f"{report.student} is within every limit: {_measurements(outlook, report)}. The true "
        f"accuracy is high enough with a chance of {_belief_in(outlook, report):.0%}."
    )
    return Verdict(kind=VerdictKind.MET, why=why, student=report.student)


def _best_effort(outlook: Outlook) -> Verdict | None:
    given = outlook.belief.given
    if given.round < given.max_rounds and _next_action(outlook) is not None:
        return None
    best = max(given.reports, key=lambda report: _merit(outlook, report))
    reason = (
        f"After {given.round} rounds, the most allowed,"
        if given.round >= given.max_rounds
        else "Every student with a chance was tried, and"
    )
    misses = _misses(outlook, best)
    return Verdict(
        kind=VerdictKind.BEST_EFFORT,
        why=f"{reason} {best.student} is the best: {_measurements(outlook, best)}. {misses}.",
        counter_offers=counter_offers(outlook),
        student=best.student,
    )


def _adjust(outlook: Outlook, report: DistillationMetric) -> Verdict:
    action = _next_action(outlook)
    found = f"Measured {_measurements(outlook, report)}."
    match action:
        case Action.MEASURE:
            missed_by_noise = _misses(outlook, report)
            why = f"{missed_by_noise} by no more than noise explains: measure once more. {found}"
        case Action.TRAIN:
            how = "by less than its standard error: train longer"
            if missed(outlook.spec, outlook.floor, report) == (Constraint.TRAINING_MEMORY,):
                how = "at training: train fewer blocks"
            why = f"{_misses(outlook, report)} {how}. {found}"
        case _:
            why = f"{_misses(outlook, report)}: try another student. {found}"
    return Verdict(kind=VerdictKind.ADJUST, why=why, student=report.student, next_action=action)


def _next_action(outlook: Outlook) -> Action | None:
    """Repeat the last student while that can help, else another; None if no other is left."""
    given = outlook.belief.given
    last = given.reports[-1].student
    again = repeat(given.spec, outlook.floor, trials_of(given, last))
    here = outlook.belief.students.index(last)
    if again and not outlook.fits[here]:
        again = None  # not even its least training fits
    best = outlook.chance[outlook.open].max(initial=0.0)
    if again is Action.TRAIN and outlook.chance[here] < PATIENCE * best:
        return Action.DELIVER
    return again or (Action.DELIVER if outlook.open.any() else None)


def _belief_in(outlook: Outlook, report: DistillationMetric) -> float:
    return float(outlook.accurate[outlook.belief.students.index(report.student)])


def _merit(outlook: Outlook, report: DistillationMetric) -> tuple[int, float]:
    return -len(missed(outlook.spec, outlook.floor, report)), report.accuracy


def _misses(outlook: Outlook, report: DistillationMetric) -> str:
    names = missed(outlook.spec, outlook.floor, report)
    if names:
        return f"Missed {' and '.join(NAMES[name] for name in names)}"
    return (
        f"Within every limit, but the true accuracy is high enough only with a chance of "
        f"{_belief_in(outlook, report):.0%}"
    )


def _measurements(outlook: Outlook, report: DistillationMetric) -> str:
    """Every number beside its limit, and the latency beside its prediction if that was far off."""
    given = outlook.belief.given
    words = [
        f"accuracy {report.accuracy:.3f} +- {standard_error(report):.3f} for at least "
        f"{outlook.floor:.3f}"
    ]
    for name in (Constraint.LATENCY, Constraint.MEMORY, Constraint.STORAGE, Constraint.ENERGY):
        value, allowed = measured(report, name), limit(given.spec, name)
        if value is not None and allowed < float("inf"):
            words.append(f"{NAMES[name]} {in_words(name, value)} of {in_words(name, allowed)}")
    upto = (*given.inherited, *given.reports[: given.reports.index(report) + 1])
    ratio = cost.measured_over_predicted(outlook.belief.family, given.probes, upto)
    if given.probes and not 1 / SURPRISE < ratio < SURPRISE:
        words.append(f"{ratio:.2g} times the predicted latency")
    return ", ".join(words)
