"""Makes a failing story short: leaves out what it fails without, then makes the rest ordinary.

Leaving out is Zeller's and Hildebrandt's ddmin (2002), greedy: chunks of half the story, then of a
quarter, and so on; a shorter story must break the same invariant.
"""

from collections.abc import Callable, Sequence

from benchmarks.simulation.process import Parts
from benchmarks.simulation.seeds import SOUND, Failure, play
from benchmarks.simulation.story import Step, Story, story_of
from benchmarks.simulation.world import World

Fails = Callable[[Sequence[Step]], bool]


def first_failure(parts: Parts, most: int, first: int = 0) -> Failure | None:
    """Of the seeds from `first` on, at most so many."""
    played = (play(story_of(seed), parts) for seed in range(first, first + most))
    return next((result.failures[0] for result in played if result.failures), None)


def shrink(failure: Failure, parts: Parts = SOUND, story: Story | None = None) -> Story:
    """A short story that fails in the same way."""
    story = story or story_of(failure.seed)

    def fails(steps: Sequence[Step]) -> bool:
        found = play(Story(story.seed, tuple(steps)), parts).failures
        return bool(found) and found[0].kind == failure.kind

    steps = list(story.steps[: play(story, parts).steps])
    plain = ordinary(without(steps, fails), fails)
    return Story(story.seed, tuple(without(plain, fails)))


def without(steps: list[Step], fails: Fails) -> list[Step]:
    """Leave out chunks as long as it fails; in the end, no single step can be left out."""
    size = max(1, len(steps) // 2)
    while steps:
        at, before = 0, len(steps)
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fails(fewer):
                steps = fewer
            else:
                at += size
        if size == 1 and len(steps) == before:
            break
        size = max(1, size // 2)
    return steps


def ordinary(steps: list[Step], fails: Fails) -> list[Step]:
    """Each step in its first manner, where that will do."""
    for at, step in enumerate(steps):
        plain = [*steps[:at], Step(step.name, step.who, 0), *steps[at + 1 :]]
        if step.how and fails(plain):
            steps = plain
    return steps


def tell(story: Story, parts: Parts = SOUND) -> tuple[str, ...]:
    """What happens in a story, line by line."""
    world = World(story.seed, parts, narrates=True)
    result = play(story, parts, world)
    return (*world.told, *(f"!! {failure.what}" for failure in result.failures))
