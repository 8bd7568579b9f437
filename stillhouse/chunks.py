"""Which chunks a student needs, in which order: every prefix of the weights is a student that runs.

The path grows from the smallest student of the wanted bits first in width, then in depth, stage by
stage, through points of the family alone. It depends on the target only where it must, so two
targets share the longest possible prefix, and what a device holds of one serves the other.
"""

from collections.abc import Iterable, Sequence

from stillhouse.entities import (
    BehaviourRecipe,
    ChunkRecipe,
    FamilyTable,
    Student,
    StudentFacts,
    WeightsRecipe,
)

BEHAVIOUR_TOP_K = 2  # as good a teacher as all logits (ALGORITHMS D)


def path(students: Iterable[Student], target: Student) -> tuple[Student, ...]:
    """The runnable students from the smallest to `target`, each within the next."""
    family = [student for student in students if student.bits == target.bits]
    widths = sorted({s.width for s in family if s.width <= target.width})
    depths = [sorted({s.depths[i] for s in family}) for i in range(len(target.depths))]
    current = [options[0] for options in depths]
    steps = [Student(width=width, depths=tuple(current), bits=target.bits) for width in widths]
    for stage, wanted in enumerate(target.depths):
        for depth in depths[stage]:
            if current[stage] < depth <= wanted:
                current[stage] = depth
                steps.append(Student(width=target.width, depths=tuple(current), bits=target.bits))
    return tuple(steps)


def weights_chunks(students: Iterable[Student], target: Student) -> tuple[WeightsRecipe, ...]:
    """One chunk a slice of the path to `target`."""
    steps = path(students, target)
    return tuple(
        WeightsRecipe(base=base, student=student)
        for base, student in zip((None, *steps), steps, strict=False)
    )


def chunks_for(table: FamilyTable, target: Student, windows: int) -> tuple[ChunkRecipe, ...]:
    """All that `target` needs, in the order in which it is worth most: core, behaviour, slices."""
    weights = weights_chunks([row.student for row in table.rows], target)
    if windows == 0:
        return weights
    behaviour = BehaviourRecipe(top_k=min(BEHAVIOUR_TOP_K, table.classes), first=0, count=windows)
    return (weights[0], behaviour, *weights[1:])


def train_after(plan: Sequence[ChunkRecipe], sent: Sequence[ChunkRecipe]) -> int:
    """The index in `sent` of the chunk after which training can begin: the smallest student that
    runs is there, and all behaviour; 0 if the device holds those already."""
    first = next(recipe for recipe in plan if isinstance(recipe, WeightsRecipe))
    needed = {first, *(recipe for recipe in plan if isinstance(recipe, BehaviourRecipe))}
    return max((index for index, recipe in enumerate(sent) if recipe in needed), default=0)


def new_wire_bytes(table: FamilyTable, target: Student, held: frozenset[ChunkRecipe]) -> int:
    """Bytes of the weights chunks that a device with `held` still lacks for `target`."""
    rows = {row.student: row for row in table.rows}

    def size(recipe: WeightsRecipe) -> int:
        before: StudentFacts | None = rows[recipe.base] if recipe.base else None
        return rows[recipe.student].wire_bytes - (before.wire_bytes if before else 0)

    return sum(size(recipe) for recipe in weights_chunks(rows, target) if recipe not in held)
