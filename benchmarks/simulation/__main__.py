"""`python3 -m benchmarks.simulation --seeds 10000`, or `--seed N [--story FILE]` for one story.

A failing seed is shrunk, told, and kept as a file that `--story` plays again.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.simulation.seeds import Failure, Result, play, run_seeds
from benchmarks.simulation.shrinking import shrink, tell
from benchmarks.simulation.story import Step, Story, story_of

LONG = 1_000_000
SHOWN = 3  # failures that are shrunk


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.simulation")
    parser.add_argument("--seeds", type=int, default=10_000, metavar="COUNT")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--long", action="store_true", help=f"{LONG:,} seeds")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="one story, told")
    parser.add_argument("--story", type=Path, metavar="FILE", help="its steps, instead of all")
    given = parser.parse_args()
    console = Console()
    if given.seed is not None:
        return one(console, story_in(given.seed, given.story))
    return many(console, given.first, LONG if given.long else given.seeds, given.processes)


def one(console: Console, story: Story) -> int:
    for line in tell(story):
        console.print(line, markup=False, highlight=False)
    return len(play(story).failures)


def many(console: Console, first: int, count: int, processes: int) -> int:
    began = time.perf_counter()
    with Progress(console=console) as bar:
        task = bar.add_task("stories", total=count)

        def progress(so_far: Result) -> None:
            found = f"stories, {len(so_far.failures)} failures"
            bar.update(task, completed=so_far.seeds, description=found)

        result = run_seeds(first, count, processes, progress=progress)
    show(console, result, time.perf_counter() - began)
    for failure in result.failures[:SHOWN]:
        explain(console, failure)
    return min(1, len(result.failures))


def show(console: Console, result: Result, took_s: float) -> None:
    each = ", ".join(
        f"{getattr(result, name) / result.seeds:.1f} {name.replace('_', ' ')}"
        for name in ("steps", "transitions", "commits", "failed_commits", "crashes", "restarts")
    )
    console.print(f"{result.seeds / took_s:.1f} seeds/s; a seed: {each}")
    console.print(f"trace {result.trace_hash}")


def explain(console: Console, failure: Failure) -> None:
    """The shortest story found, in words, and how to play it again."""
    story = shrink(failure)
    path = Path(f"story-{failure.seed}.json")
    path.write_text(json.dumps(story.steps))
    console.rule(f"seed {failure.seed}: {failure.kind}, {len(story.steps)} steps")
    for line in tell(story):
        console.print(line, markup=False, highlight=False)
    again = f"python3 -m benchmarks.simulation --seed {failure.seed} --story {path}"
    console.print(again, markup=False)


def story_in(seed: int, path: Path | None) -> Story:
    if path is None:
        return story_of(seed)
    return Story(seed, tuple(Step(*step) for step in json.loads(path.read_text())))


if __name__ == "__main__":
    sys.exit(main())
