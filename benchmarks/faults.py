"""What is killed, torn or reordered, and what was lost by it: processes, the disk, the world.

Bare kills of a shard, kills of JobManagers and API replicas through Ray, power cuts and errors at
every write and sync, and stories of the simulator. `lost` and `doubled` are sums over the first
three, `simulator_failures` over the last; all must be 0.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import Progress

from benchmarks import storage_faults
from benchmarks.kills.audit import Findings
from benchmarks.kills.bare import kill_bare
from benchmarks.kills.through_ray import REPLICA_KILLS, Kill, kill_through_ray
from benchmarks.report import Measured, Value
from benchmarks.simulation.seeds import Result, run_seeds
from cluster.private_files import make_folder

FOLDER = Path(".stillhouse")  # the disk that a local deployment keeps its state on
SEED = 4
BARE, LONG_BARE = 190, 5_000
THROUGH_RAY, LONG_THROUGH_RAY = 10, 100
SEEDS, LONG_SEEDS = 10_000, 1_000_000
SHOWN = 10  # stories of what went wrong, of a part
Metrics = dict[str, float]
Row = dict[str, Value]
Advance = Callable[[int, str], None]  # how much is done, and a word on it
Rows = list[Row]


def measure(long: bool) -> Measured:
    """Every part once."""
    make_folder(FOLDER)
    console = Console(file=sys.stdout)
    bare, bare_rows = measure_bare(console, LONG_BARE if long else BARE)
    disk, disk_rows = measure_disk(console)
    stories, story_rows = measure_simulator(console, LONG_SEEDS if long else SEEDS)
    ray, ray_rows = measure_through_ray(console, LONG_THROUGH_RAY if long else THROUGH_RAY)
    summed = {
        name: sum(part.get(name, 0.0) for part in (bare, ray, disk))
        for name in ("kills", "lost", "doubled")
    }
    rows = (*bare_rows, *ray_rows, *disk_rows, *story_rows)
    return Measured({**disk, **stories, **ray, **summed}, rows)


def measure_bare(console: Console, count: int) -> tuple[Metrics, Rows]:
    with shown(console, "bare kills", count) as advance, TemporaryDirectory(dir=FOLDER) as folder:
        began = time.perf_counter()
        killed = kill_bare(
            count, SEED, Path(folder), lambda done, found: advance(done, in_words(found))
        )
    told(console, killed.findings.stories)
    found = killed.findings
    row: Row = {
        "part": "bare kills",
        "kills": killed.kills,
        "wall_s": time.perf_counter() - began,
        "repeated_requests": killed.repeated,
        **numbers(found),
    }
    return {"kills": killed.kills, "lost": found.lost, "doubled": found.doubled}, [row]


def measure_through_ray(console: Console, count: int) -> tuple[Metrics, Rows]:
    struck: list[Kill] = []

    def heard(kill: Kill) -> None:
        struck.append(kill)
        advance(len(struck), f"{kill.victim}: {kill.outage_s:.2f} s")

    with (
        shown(console, "kills through Ray", count + REPLICA_KILLS) as advance,
        TemporaryDirectory(dir=FOLDER) as folder,
        redirect_stdout(io.StringIO()),  # Ray tells of every death
    ):
        began = time.perf_counter()
        all = kill_through_ray(count, SEED, Path(folder), heard)
    told(console, [*all.findings.stories, *all.failed])
    row: Row = {
        "part": "kills through Ray",
        "kills": count,
        "replica_kills": REPLICA_KILLS,
        "wall_s": time.perf_counter() - began,
        "requests": all.requests,
        "failed_requests": len(all.failed),
        "polls_failed": all.polls_failed,
        **numbers(all.findings),
    }
    kills: Rows = [
        {"victim": kill.victim, "back_after_s": kill.back_after_s, "outage_s": kill.outage_s}
        for kill in all.kills
    ]
    metrics = {
        "kills": count,
        "lost": all.findings.lost,
        "doubled": all.findings.doubled,
        "outage_s": all.outage_s("shard"),
        "replica_outage_s": all.outage_s("replica"),
        "failed_requests": len(all.failed),
    }
    return metrics, [row, *kills]


def measure_disk(console: Console) -> tuple[Metrics, Rows]:
    with console.status("power cuts and errors of the disk"):
        began = time.perf_counter()
        result = storage_faults.run_all()
        wall_s = time.perf_counter() - began
    console.print(f"the disk: {result.points} points in {wall_s:.0f} s")
    told(console, result.stories)
    row: Row = {
        "part": "disk",
        "vfs_points": result.points,
        "wall_s": wall_s,
        "lost": result.lost,
        "corrupt": result.corrupt,
        "doubled": result.doubled,
        "unwell": result.unwell,
    }
    kinds: Rows = [{"cut_after": kind, "points": n} for kind, n in result.kinds.items()]
    lost = result.lost + result.corrupt + result.unwell
    return {"vfs_points": result.points, "lost": lost, "doubled": result.doubled}, [row, *kinds]


def measure_simulator(console: Console, count: int) -> tuple[Metrics, Rows]:
    def heard(so_far: Result) -> None:
        advance(so_far.seeds, f"{len(so_far.failures)} failures")

    with shown(console, "stories of the simulator", count) as advance:
        began = time.perf_counter()
        result = run_seeds(0, count, os.cpu_count() or 1, progress=heard)
    told(console, [f"seed {each.seed}: {each.what}" for each in result.failures])
    row: Row = {
        "part": "simulator",
        "simulator_seeds": result.seeds,
        "simulator_failures": len(result.failures),
        "wall_s": time.perf_counter() - began,
        "trace_hash": result.trace_hash,
        "steps": result.steps,
        "transitions": result.transitions,
        "restarts": result.restarts,
        "crashes": result.crashes,
        "failed_commits": result.failed_commits,
    }
    return {
        "simulator_seeds": result.seeds,
        "simulator_failures": len(result.failures),
    }, [row]


def numbers(found: Findings) -> Row:
    return {
        "acknowledged": found.acknowledged,
        "events": found.events,
        "transitions": found.transitions,
        "jobs_ended": found.jobs,
        "lost": found.lost,
        "doubled": found.doubled,
        "refused": found.refused,
    }


def in_words(found: Findings) -> str:
    return f"{found.lost} lost, {found.doubled} doubled of {found.acknowledged}"


@contextmanager
def shown(console: Console, what: str, count: int) -> Iterator[Advance]:
    """A bar; it draws itself when something was done, not from a thread of its own."""
    with Progress(console=console, auto_refresh=False) as bar:
        task = bar.add_task(what, total=count)

        def advance(done: int, word: str) -> None:
            bar.update(task, completed=done, description=f"{what}: {word}", refresh=True)

        yield advance


def told(console: Console, stories: list[str]) -> None:
    for story in stories[:SHOWN]:
        console.print(story, markup=False, highlight=False)
