"""The cluster's effects, as tasks that give a result when the story lets them.

The same job and round always give the same plan, chunks and verdict, whatever the attempt.
"""

from dataclasses import dataclass
from typing import Any

from actors.desk import system
from actors.reading import Order
from benchmarks.simulation.cast import chance, delivery, plan, verdict
from stillhouse.brief import compress_order
from stillhouse.commands import Compressed, Decided, EffectFailed, Planned, Renew
from stillhouse.decisions import Effect, Request
from stillhouse.entities import SYSTEM, Action, VerdictKind
from stillhouse.jobs import Kind
from stillhouse.schedule import DELIVERY_LIFETIME_S

LAST_ROUND = 3


@dataclass(frozen=True, slots=True)
class Task:
    """An effect that runs, with what it read at its start."""

    effect: Effect
    read: Order
    seed: int

    @property
    def place(self) -> tuple[str, str, int]:
        return self.effect.job_id, self.effect.node, self.effect.attempt

    def result(self, now: float) -> Request:
        return self._keyed(self._outcome(now))

    def failure(self) -> Request:
        return self._keyed(EffectFailed(*self.place, "its worker died"))

    def renewal(self) -> Request:
        return Request("", "", SYSTEM, Renew(*self.place, "half"))

    def _keyed(self, command: Any) -> Request:
        """As `actors.effects.report` does it."""
        job, node, attempt = self.place
        return system(f"{job}/{node}/{attempt}/{type(command).__name__}", command)

    def _outcome(self, now: float) -> Planned | Compressed | Decided:
        job = self.read.job
        drawn = chance(self.seed, self.effect.job_id, self.effect.node)
        match self.effect.kind:
            case Kind.PLAN:
                return Planned(*self.place, planned(drawn, job.round + 1))
            case Kind.COMPRESS:
                node = job.graph[self.effect.node]
                order = compress_order(
                    job, self.read.owner, self.read.held, node, self.read.previous_manifest
                )
                made = delivery(order, 1 + drawn % 3, now + DELIVERY_LIFETIME_S)
                return Compressed(*self.place, made)
            case _:
                return Decided(*self.place, verdict(judged(drawn, job.round)))


def planned(drawn: int, round: int) -> Any:
    if drawn % 16 == 0:
        return verdict(VerdictKind.INFEASIBLE)
    actions = (Action.DELIVER,) if round == 1 else (Action.DELIVER, Action.TRAIN, Action.MEASURE)
    return plan(round, actions[drawn // 16 % len(actions)])


def judged(drawn: int, round: int) -> VerdictKind:
    kinds = [VerdictKind.MET, VerdictKind.MET, VerdictKind.BEST_EFFORT, VerdictKind.ADJUST]
    return kinds[drawn % (len(kinds) if round < LAST_ROUND else 3)]
