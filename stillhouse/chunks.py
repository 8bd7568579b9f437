"""Which chunks a student needs, in which order: every prefix of the weights is a student that runs.

From what the device holds, or from nothing, the path goes to whichever student within the target
gains most expected accuracy a byte (the family's table), and so on to the target: a wider one, a
deeper one, or the same one with its next bit-planes. A student of 8 bits so begins as one of 4; one
of 32 has a path of its own. Where the device holds chunks of the family that this one updates,
deltas stand in for them. Behaviour comes in batches, ranked the same way by what it gains.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log2
from operator import le
from typing import Literal

from stillhouse.entities import (
    BehaviourRecipe,
    ChunkRecipe,
    DeltaRecipe,
    FamilyTable,
    KnowledgeChunk,
    Student,
    StudentFacts,
    WeightsRecipe,
)

BEHAVIOUR_TOP_K = 2  # as good a teacher as all logits (ALGORITHMS D)
BEHAVIOUR_BATCH = 250  # windows
BEHAVIOUR_BATCHES = 4  # at first; a near miss asks for more
BEHAVIOUR_GAIN = 0.03  # of the first batch, over no public anchor (WRIST); the next half, and so on

Sendable = WeightsRecipe | DeltaRecipe


@dataclass(frozen=True, slots=True)
class _Point:
    """A student with what is compared: `axes` are its width and depths."""

    student: Student
    axes: tuple[float, ...]
    bits: int
    facts: StudentFacts

    def within(self, other: "_Point") -> bool:
        return all(map(le, self.axes, other.axes))


@dataclass(frozen=True, slots=True)
class _Chain:
    """Chunks that lead from nothing to a student: bytes still to be sent, and of all of them."""

    recipes: tuple[Sendable, ...] = ()
    new_bytes: float = 0.0
    bytes: int = 0


class Routes:
    """The chunks that lead a device with some holdings to the students of a family.

    `held` are recipes of this family, `held_before` of the family that it updates.
    """

    def __init__(
        self,
        table: FamilyTable,
        held: Iterable[ChunkRecipe] = (),
        held_before: Iterable[WeightsRecipe] = (),
    ) -> None:
        self._table, self._held = table, frozenset(held)
        self._points = {row.student: _point(row) for row in table.rows}
        self._fine = {point.axes for point in self._points.values() if point.bits == 8}
        self._chance = 0.0 if table.embeds else 1 / table.outputs  # accuracy of no student at all
        self._starts = self._reached(held_before)

    def to(self, target: Student) -> tuple[Sendable, ...]:
        """All weights chunks of `target`, held ones first; KeyError if the family lacks it."""
        goal = self._points[target]
        inside = [point for point in self._points.values() if self._leads(point, goal)]
        at, chain = self._start(inside, goal)
        found = list(chain.recipes)
        while at is not goal:
            after = self._next(at, inside, goal)
            base = at.student if at else None
            found.append(WeightsRecipe(base=base, student=after.student))
            at = after
        return tuple(found)

    def new_bytes(self, recipe: ChunkRecipe) -> float:
        """Expected bytes to send for a weights chunk or delta: none for what is held. The table
        foretells those of a chunk within one byte, of a delta by the share measured at the build.
        """
        if recipe in self._held or isinstance(recipe, BehaviourRecipe):
            return 0.0
        if isinstance(recipe, DeltaRecipe):
            return self._table.update_share * self._bytes(recipe.of)
        return float(self._bytes(recipe))

    def gain(self, recipe: Sendable) -> float:
        """Expected accuracy that a chunk adds."""
        step = recipe.of if isinstance(recipe, DeltaRecipe) else recipe
        before = self._points[step.base].facts.accuracy if step.base else self._chance
        return self._points[step.student].facts.accuracy - before

    def _bytes(self, step: WeightsRecipe) -> int:
        return _bytes(self._points[step.base] if step.base else None, self._points[step.student])

    def _reached(self, held_before: Iterable[WeightsRecipe]) -> dict[Student | None, _Chain]:
        """The cheapest chain of held chunks and deltas to each student that some lead to."""
        here = {each for each in self._held if isinstance(each, WeightsRecipe)}
        steps: list[tuple[WeightsRecipe, Sendable]] = [(each, each) for each in here]
        if self._table.updates is not None:
            of = self._table.updates
            steps += [(e, DeltaRecipe(family=of, of=e)) for e in held_before if e not in here]
        steps = [(s, r) for s, r in steps if s.student in self._points and self._known(s.base)]
        steps.sort(key=lambda step: (str(step[0].base), str(step[0].student)))
        chains: dict[Student | None, _Chain] = {None: _Chain()}
        grown = True
        while grown:
            grown = False
            for step, recipe in steps:
                if step.base not in chains:
                    continue
                chain = self._longer(chains[step.base], recipe, self._bytes(step))
                if step.student not in chains or _order(chain) < _order(chains[step.student]):
                    chains[step.student], grown = chain, True
        return chains

    def _known(self, base: Student | None) -> bool:
        return base is None or base in self._points

    def _longer(self, chain: _Chain, recipe: Sendable, size: int) -> _Chain:
        new = chain.new_bytes + self.new_bytes(recipe)
        return _Chain((*chain.recipes, recipe), new, chain.bytes + size)

    def _leads(self, point: _Point, goal: _Point) -> bool:
        """Whether chunks go from a student to the target."""
        if not point.within(goal):
            return False
        if point.bits == goal.bits:
            return True
        return (point.bits, goal.bits) == (4, 8) and point.axes in self._fine

    def _start(self, inside: list[_Point], goal: _Point) -> tuple[_Point | None, _Chain]:
        """The held student from which the fewest bytes lead to the target, deltas counted."""

        def order(point: _Point | None) -> tuple[float, int, str]:
            chain = self._starts[point.student if point else None]
            return chain.new_bytes + _bytes(point, goal), chain.bytes, str(point and point.student)

        held = [point for point in inside if point.student in self._starts]
        best = min((None, *held), key=order)
        return best, self._starts[best.student if best else None]

    def _next(self, at: _Point | None, inside: list[_Point], goal: _Point) -> _Point:
        """The student that gains most a byte; where none gains, the shortest way on."""
        before = at.facts.accuracy if at else self._chance
        best, most = None, 0.0
        for point in inside:
            if point is not at and _follows(at, point):
                gain = (point.facts.accuracy - before) / _bytes(at, point)
                if gain > most:
                    best, most = point, gain
        if best is not None:
            return best
        return goal if at is None or at.bits == goal.bits else self._points[_finer(at.student)]


def made_recipe(recipe: ChunkRecipe) -> WeightsRecipe | BehaviourRecipe:
    """The recipe of the chunk that a device holds once this one has arrived."""
    return recipe.of if isinstance(recipe, DeltaRecipe) else recipe


def made(chunk: KnowledgeChunk) -> KnowledgeChunk:
    """The chunk that a device holds once this one has arrived: itself, or what a delta makes."""
    if not isinstance(chunk.recipe, DeltaRecipe) or not chunk.makes or not chunk.makes_length:
        return chunk
    return KnowledgeChunk(recipe=chunk.recipe.of, digest=chunk.makes, length=chunk.makes_length)


def weights_chunks(
    table: FamilyTable, target: Student, held: Iterable[ChunkRecipe] = ()
) -> tuple[WeightsRecipe, ...]:
    """One chunk a step of the path to `target`, in order, held ones first."""
    steps = Routes(table, held).to(target)
    return tuple(step for step in steps if isinstance(step, WeightsRecipe))


def chunks_for(
    table: FamilyTable,
    target: Student,
    windows: int,
    held: Iterable[ChunkRecipe] = (),
    *,
    held_before: Iterable[WeightsRecipe] = (),
    batches: int = BEHAVIOUR_BATCHES,
) -> tuple[ChunkRecipe, ...]:
    """All that `target` needs, held or not, in the order in which it is worth most a byte.

    `windows` transfer inputs are installed on the device. A batch of behaviour is worth its gain
    over its own bytes and those of the inputs that it lacks: at `transfer_input_bytes` each they
    would put it behind every slice, and no delivery carries any, so without inputs no behaviour is
    planned. A near miss asks for more `batches`.
    """
    routes = Routes(table, held, held_before)
    waiting = list(behaviour_chunks(table, windows, batches))
    order: list[ChunkRecipe] = []
    for recipe in routes.to(target):
        size = routes.new_bytes(recipe)
        worth = max(0.0, routes.gain(recipe)) / size if size else float("inf")
        while order and waiting and _behaviour_worth(table, waiting[0]) >= worth:
            order.append(waiting.pop(0))
        order.append(recipe)
    return (*order, *waiting)


def behaviour_chunks(table: FamilyTable, windows: int, batches: int) -> Iterator[BehaviourRecipe]:
    """The first `batches` of the installed windows; logits, or features of a model that embeds."""
    k = 0 if table.embeds else min(BEHAVIOUR_TOP_K, table.outputs)
    layer: Literal["logits", "features"] = "features" if table.embeds else "logits"
    for first in range(0, min(windows, batches * BEHAVIOUR_BATCH), BEHAVIOUR_BATCH):
        count = min(BEHAVIOUR_BATCH, windows - first)
        yield BehaviourRecipe(layer=layer, top_k=k, first=first, count=count)


def behaviour_bytes(table: FamilyTable, recipe: BehaviourRecipe) -> float:
    """About what a batch takes: 4 bits and a class for each logit, 8 bits for a feature."""
    if recipe.layer == "features":
        return recipe.count * (4 + table.outputs)
    return 18 + recipe.count * recipe.top_k * (4 + log2(table.outputs)) / 8


def train_after(plan: Sequence[ChunkRecipe], sent: Sequence[ChunkRecipe]) -> int:
    """The index in `sent` of the chunk after which training can begin: the smallest student that
    runs is there, and the first behaviour; 0 if the device holds those already."""
    of_weights = [recipe for recipe in plan if not isinstance(recipe, BehaviourRecipe)]
    behaviour = [recipe for recipe in plan if isinstance(recipe, BehaviourRecipe)]
    needed = {*of_weights[:1], *behaviour[:1]}
    return max((index for index, recipe in enumerate(sent) if recipe in needed), default=0)


def new_wire_bytes(
    table: FamilyTable,
    target: Student,
    held: Iterable[ChunkRecipe],
    held_before: Iterable[WeightsRecipe] = (),
) -> int:
    """Expected bytes of the weights that a device with these holdings still lacks for `target`.

    Who asks for many targets makes `Routes` once.
    """
    routes = Routes(table, held, held_before)
    return round(sum(map(routes.new_bytes, routes.to(target))))


def _point(row: StudentFacts) -> _Point:
    student = row.student
    return _Point(student, (student.width, *student.depths), student.bits, row)


def _bytes(base: _Point | None, point: _Point) -> int:
    """Of the chunk between two students: what both share is not sent, what each has alone is."""
    shared = base.facts.wire_bytes - base.facts.own_bytes if base else 0
    return max(1, point.facts.wire_bytes - shared)


def _finer(student: Student) -> Student:
    """The student with the next bit-planes."""
    return student.model_copy(update={"bits": 8})


def _follows(at: _Point | None, point: _Point) -> bool:
    """Whether one chunk leads from a student to another."""
    if at is None:
        return True
    if at.bits == point.bits:
        return at.within(point)
    return at.bits < point.bits and at.axes == point.axes


def _order(chain: _Chain) -> tuple[float, int, int]:
    return chain.new_bytes, chain.bytes, len(chain.recipes)


def _behaviour_worth(table: FamilyTable, recipe: BehaviourRecipe) -> float:
    halvings = recipe.first // BEHAVIOUR_BATCH
    return BEHAVIOUR_GAIN * 0.5**halvings / behaviour_bytes(table, recipe)
