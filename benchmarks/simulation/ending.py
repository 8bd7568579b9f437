"""The end of a story: nothing goes wrong any more, and every job must come to its end (I3).

Then the whole journal is read once more: replay of the bytes gives the rows and the index tables.
"""

from typing import Any

from benchmarks.simulation.steps import act, site_of
from benchmarks.simulation.witness import Everything, Witness, must
from benchmarks.simulation.world import Site, World, nobody
from cluster.journal.memory import Volume, put
from stillhouse import shard
from stillhouse.decisions import Index
from stillhouse.events import EVENTS
from stillhouse.evolve import evolve, index
from stillhouse.listing import OPEN

MOST_TURNS = 300
SILENT = 3  # one story in so many ends with devices that never come back


def finish(world: World) -> None:
    for site in world.sites:
        calm(site)
    for turn in range(MOST_TURNS):
        before = sum(site.witness.commits for site in world.sites)
        go_on(world)
        if sum(site.witness.commits for site in world.sites) == before and not wait(world):
            break
        must(turn < MOST_TURNS - 1, "I3 every job ends")
    for site in world.sites:
        all_is_over(site)
        site.ledger.check()
        read_again(site.witness)


def calm(site: Site) -> None:
    site.faults.calm()
    site.crowd = 0
    site.through()
    site.process.tick(site.world.feed.after)
    site.through()


def go_on(world: World) -> None:
    """Everyone does what is next."""
    for site in world.sites:
        tasks, site.tasks = site.tasks, []
        for task in tasks:
            site.send(task.result(world.now), nobody, "through")
        site.process.tick(world.feed.after)
        site.through()
    for device in world.devices if world.seed % SILENT else ():
        for _ in range(6):
            act(world, world.devices.index(device), 49)  # a good day: it comes through, it is done
            if device.unanswered is None and not site_of(world, device).late:
                break


def wait(world: World) -> bool:
    """Until the next thing is due; False if nothing is."""
    ats = [each.at for site in world.sites for each in site.volume.due.values()]
    if not ats:
        return False
    world.now = max(world.now, min(ats)) if world.seed % SILENT else max(world.now, max(ats))
    return True


def all_is_over(site: Site) -> None:
    for job in site.witness.jobs.values():
        must(job.state not in OPEN, "I3 every job ends", job.id, job.state)
    volume = site.volume
    left = (volume.outbox, volume.due, volume.ready, volume.waiting)
    must(not any(left), "I3 nothing is left to do", left)


def read_again(witness: Witness) -> None:
    """Replay of the very bytes."""
    volume, rows, tables = witness.volume, Everything(), Volume()
    for stored in volume.events:
        event = EVENTS.decode(stored.data)
        rows.update(evolve(rows, event))
        entries = Index()
        index(rows, event, entries)
        enter(tables, entries)
    kept = {key: shard.encode(row) for key, row in rows.items() if row is not None}
    must(kept == volume.rows, "I4 replay gives the rows")
    for name in ("outbox", "ready", "due", "waiting", "listed", "dead"):
        same = getattr(tables, name) == getattr(volume, name)
        must(same, "I4 replay gives the index tables", name)


def enter(tables: Volume, entries: Index) -> None:
    changes: Any
    for name in Index.__slots__:
        changes = getattr(entries, name)
        put(getattr(tables, name), changes)
