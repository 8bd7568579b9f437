"""Plays stories: one from its steps, or many from their seeds, over several processes."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context

from benchmarks.simulation.ending import finish
from benchmarks.simulation.process import Parts
from benchmarks.simulation.steps import perform
from benchmarks.simulation.story import Story, in_words, story_of
from benchmarks.simulation.witness import Violation
from benchmarks.simulation.world import World

PAGE = 25  # seeds that one process plays at once
SOUND = Parts()


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in a story; `kind` is what a shorter story must break, too."""

    seed: int
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Result:
    """What happened in the stories of some seeds."""

    seeds: int = 0
    failures: tuple[Failure, ...] = ()
    trace_hash: str = ""  # of all events of all seeds in their order
    steps: int = 0
    commits: int = 0
    events: int = 0
    transitions: int = 0
    restarts: int = 0
    crashes: int = 0
    failed_commits: int = 0

    def __add__(self, other: "Result") -> "Result":
        """That of the seeds before, and of those after."""
        joined = hashlib.sha256((self.trace_hash + other.trace_hash).encode()).hexdigest()
        sums = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
        }
        return Result(**{**sums, "trace_hash": joined})


def play(story: Story, parts: Parts = SOUND, world: World | None = None) -> Result:
    """The whole story, to its end or to the first violation."""
    world = world or World(story.seed, parts)
    failures: tuple[Failure, ...] = ()
    done = 0
    try:
        for done, step in enumerate(story.steps, 1):
            world.say(f"{done}. {in_words(step)}")
            perform(world, step)
        world.say("The end: nothing goes wrong any more.")
        finish(world)
    except Violation as violation:
        failures = (Failure(story.seed, violation.kind, str(violation)),)
    except Exception as error:  # whatever it is, the story broke it
        failures = (Failure(story.seed, type(error).__name__, repr(error)),)
    return seen(world, done, failures)


def seen(world: World, steps: int, failures: tuple[Failure, ...]) -> Result:
    sites = world.sites
    traces = "".join(site.witness.trace for site in sites)
    return Result(
        seeds=1,
        failures=failures,
        trace_hash=hashlib.sha256(traces.encode()).hexdigest(),
        steps=steps,
        commits=sum(site.witness.commits for site in sites),
        events=sum(site.witness.events for site in sites),
        transitions=sum(site.witness.transitions for site in sites),
        restarts=sum(site.restarts for site in sites),
        crashes=sum(site.crashes for site in sites),
        failed_commits=sum(site.faults.failed for site in sites),
    )


def play_page(seeds: range) -> Result:
    return sum((play(story_of(seed)) for seed in seeds), Result())


def run_seeds(
    first: int, count: int, processes: int, progress: Callable[[Result], None] | None = None
) -> Result:
    """Stories of the seeds from `first` on; the result does not depend on `processes`."""
    starts = range(first, first + count, PAGE)
    pages = [range(start, min(start + PAGE, first + count)) for start in starts]
    total = Result()
    for result in results(pages, processes):
        total += result
        if progress:
            progress(total)
    return total


def results(pages: list[range], processes: int) -> Iterator[Result]:
    """Page by page, in order. What the store logs of bugs, the ledger tells in the result."""
    if processes == 1:
        yield from map(play_page, pages)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), logging.disable) as pool:
        yield from pool.map(play_page, pages)
