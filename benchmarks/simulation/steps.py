"""What each step of a story makes happen; in a state where it means nothing, nothing happens."""

from collections.abc import Callable
from typing import Any

from actors.desk import own
from benchmarks.makers import SPEC
from benchmarks.simulation.cast import OPERATOR, ack, metric, profile_id
from benchmarks.simulation.devices import Device
from benchmarks.simulation.disk import UNWRITTEN, WRITTEN
from benchmarks.simulation.feed import ASKED
from benchmarks.simulation.process import Outcome
from benchmarks.simulation.story import Step
from benchmarks.simulation.tasks import Task
from benchmarks.simulation.witness import must
from benchmarks.simulation.world import MANNERS, Site, World, nobody, to_the_end
from stillhouse.commands import (
    Acknowledge,
    Cancel,
    EffectFailed,
    Expire,
    ReplaceProfile,
    ReplayDeadLetter,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    Submit,
)
from stillhouse.decisions import Request
from stillhouse.entities import JobState, Priority
from stillhouse.errors import StillhouseError, Unavailable
from stillhouse.jobs import State
from stillhouse.listing import OPEN
from stillhouse.rows import DistillationJobRow, ProfileRow

MOST_OPEN = 3  # jobs that a client has at once, in one story of so many
MOST_JOBS = 6  # of its own that a client ever has, in one story of so many
CLOCK_S = (2, 30, 60, 1000, 4000, 20_000, 90_000, -1, -5, -60, -4000, 8 * 86400)


def perform(world: World, step: Step) -> None:
    """One step; a second passes."""
    world.now += 1
    STEPS[step.name](world, step.who, step.how)


def device_of(world: World, who: int) -> Device:
    return world.devices[who % len(world.devices)]


def site_of(world: World, device: Device) -> Site:
    return world.sites[device.shard]


def jobs_of(world: World, device: Device) -> list[DistillationJobRow]:
    jobs = site_of(world, device).witness.jobs.values()
    return [job for job in jobs if job.client_id == device.who.id]


def ask(world: World, device: Device, command: Any, how: int) -> None:
    """A new request, which the device repeats until it is answered."""
    device.unanswered = device.request(command)
    repeat(world, device, how)


def repeat(world: World, device: Device, how: int) -> None:
    request, site = device.unanswered, site_of(world, device)
    assert request is not None
    site.guarded(lambda: site.send(request, device.heard, MANNERS[how % len(MANNERS)]))


def aside(site: Site, request: Request, hear: Callable[[Request, Outcome], None] = nobody) -> None:
    """A request that nobody repeats."""
    site.guarded(lambda: site.send(request, hear, "through"))


# --- clients ---


def submit(world: World, who: int, how: int) -> None:
    device = device_of(world, who)
    jobs = jobs_of(world, device)
    is_open = [job for job in jobs if job.state in OPEN]
    content = len(is_open) > world.seed // 4 % MOST_OPEN or len(jobs) > world.seed // 12 % MOST_JOBS
    if device.unanswered or content:
        return
    asked = ASKED[how % len(ASKED)]
    priority = (Priority.NORMAL, Priority.LOW)[how // 8 % 2]
    deadline_s = 7 * 86400.0 if how % 10 else 5000.0
    profile = profile_id(device.who.id)
    command = Submit(device.new_job(), device.who.id, asked, profile, priority, deadline_s, 4)
    ask(world, device, command, how)


def act(world: World, who: int, how: int) -> None:
    """A device goes on: asks for work, and sends what comes next."""
    device = device_of(world, who)
    if device.unanswered is None:
        try:
            work = site_of(world, device).process.work(device.who.id)
        except Unavailable:
            return
        assert work is not None
        command = device.next_command(work, how, world.now)
        if command is None:
            return
        device.unanswered = device.request(command)
    repeat(world, device, how)


def again(world: World, who: int, how: int) -> None:
    """A metric after the verdict; a bad one may open a job."""
    device = device_of(world, who)
    ended = [job for job in jobs_of(world, device) if job.state is JobState.ENDED]
    if ended and not device.unanswered:
        job = ended[-1 if how % 3 else how % len(ended)]
        accuracy = (0.9, 0.5)[how // 2 % 2]
        ask(world, device, ReportMetrics(job.id, metric(1, device.mark(), accuracy)), how)


def cancel(world: World, who: int, how: int) -> None:
    device = device_of(world, who)
    is_open = [job for job in jobs_of(world, device) if job.state in OPEN]
    if is_open and not device.unanswered:
        ask(world, device, Cancel(is_open[how % len(is_open)].id), how)


def profile(world: World, who: int, how: int) -> None:
    device = device_of(world, who)
    if not device.unanswered:
        id = profile_id(device.who.id)
        row: ProfileRow = site_of(world, device).witness.rows[id]
        spec = SPEC.model_copy(update={"memory_bytes": 100_000 + how})
        ask(world, device, ReplaceProfile(device.who.id, id, spec, row.profile.revision), how)


def wrong(world: World, who: int, how: int) -> None:
    """What a confused device sends: refused, and nothing changes."""
    device = device_of(world, who)
    site = site_of(world, device)
    site.guarded(site.through)  # what is on its way might make it right
    jobs = jobs_of(world, device)
    if not jobs:
        return
    job = jobs[how // 4 % len(jobs)]
    commands: list[Any] = [
        ReportProgress(device.who.id, job.id, node.id, node.attempt - 1, 1.0, True)
        for node in job.graph.values()
        if node.state is State.WAITING_CLIENT
    ]
    for id in job.deliveries[-1:]:
        row = site.witness.rows[id]
        last = len(row.chunks) - 1
        node = job.graph[f"r{row.round}.transfer.{last}"]
        if node.state is State.BLOCKED:
            commands.append(Acknowledge(id, last, ack(id, last)))
        if node.state is not State.SUCCEEDED:
            commands.append(Acknowledge(id, last, "f" * 64))
    if commands:
        request = device.request(commands[how % len(commands)])
        aside(site, request, refused)


def stranger(world: World, who: int, how: int) -> None:
    """Another client's ids are answered as ids that there are not."""
    device, other = device_of(world, who), device_of(world, who + 1 + how % 2)
    jobs = jobs_of(world, other)
    if not jobs:
        return
    job = jobs[how // 4 % len(jobs)]
    commands = (
        Cancel(job.id),
        ReportMetrics(job.id, metric(1, 0)),
        ReportProbes(job.id, 1, ()),
        ReportProgress(device.who.id, job.id, "r1.train", 1, 1.0, True),
        *(Acknowledge(id, 0, ack(id, 0)) for id in job.deliveries),
    )
    site, request = site_of(world, other), device.request(commands[how % len(commands)])
    site.ledger.strange.add(request.key)
    aside(site, request)


def refused(request: Request, outcome: Outcome) -> None:
    must(isinstance(outcome, StillhouseError), "what is wrong is refused", request.command)


# --- the cluster ---


def site_at(world: World, who: int) -> Site:
    return world.sites[who % len(world.sites)]


def effect(world: World, who: int, how: int) -> None:
    """The oldest task, or another, comes to an end, one way or the other."""
    site = site_at(world, who)
    if not site.tasks:
        return
    task = site.tasks.pop(0 if how % 5 else how % len(site.tasks))
    if site.cursed:
        site.cursed = False
        job_id, node, _ = task.place
        site.guarded(lambda: fail_for_good(world, site, job_id, node))
    else:
        site.guarded(lambda: end(world, site, task, how))


def end(world: World, site: Site, task: Task, how: int) -> None:
    manner = MANNERS[how % len(MANNERS)]
    match how // 2 % 10:
        case 0:
            site.send(task.failure(), nobody, manner)
        case 1:
            site.tasks.append(task)
            site.send(task.renewal(), nobody, manner)
        case 2:
            site.tasks.append(task)  # it runs twice, and will have another result
            site.send(task.result(world.now), nobody, manner)
        case _:
            site.send(task.result(world.now), nobody, manner)


def doom(world: World, who: int, _: int) -> None:
    """One effect fails, and its every attempt."""
    site_at(world, who).cursed = True


def fail_for_good(world: World, site: Site, job_id: str, node: str) -> None:
    for _ in range(16):
        job = site.witness.jobs[job_id]
        now = job.graph[node]
        if job.state is not JobState.RUNNING or now.state not in (State.READY, State.RUNNING):
            return
        if now.state is State.RUNNING:
            failed = EffectFailed(job_id, node, now.attempt, "its worker died")
            site.send(own(failed), nobody, "through")
        else:
            world.now = max(world.now, now.until or 0.0)
            tick_now(world, site, 1)


def replay(world: World, who: int, how: int) -> None:
    site = site_at(world, who)
    if letters := sorted(site.volume.dead):
        command = ReplayDeadLetter(letters[how % len(letters)])
        key = f"{OPERATOR.id}/{who}/{world.now}"
        site.guarded(
            lambda: site.send(
                Request(key, key, OPERATOR, command), nobody, MANNERS[how % len(MANNERS)]
            )
        )


def tick(world: World, who: int, how: int) -> None:
    site = site_at(world, who)
    site.guarded(lambda: tick_now(world, site, how))


def tick_now(world: World, site: Site, how: int) -> None:
    """The vault may be away, or know less than it will."""
    if how % 9 == 8:
        return site.process.tick(lambda _: [])
    site.process.tick(world.feed.after)
    if how % 7:
        site.through()
    return None


def publish(world: World, _: int, how: int) -> None:
    world.say(f"   the vault publishes {world.feed.publish(how)}"[:100])


# --- what goes wrong ---


def late(world: World, who: int, how: int) -> None:
    """A message comes that was delayed, or came before."""
    site = site_at(world, who)
    if how % 3 == 0 and site.own:
        aside(site, site.own[how % len(site.own)])
    elif site.late:
        request, hear = site.late.pop(how % len(site.late))
        site.guarded(lambda: site.send(request, hear, "through" if how % 2 else "posted"))


def early(world: World, who: int, how: int) -> None:
    site = site_at(world, who)
    site.guarded(site.through)
    not_due = [each for each in site.volume.due.values() if each.at > world.now]
    if not_due:
        each = not_due[how % len(not_due)]
        aside(site, own(Expire(each.job_id, each.node, each.attempt)), refused)


def advance(world: World, who: int, how: int) -> None:
    site = site_at(world, who)

    def some() -> None:
        for _ in range(1 + how % 4):
            site.process.advance()

    site.guarded(some)


def clock(world: World, _: int, how: int) -> None:
    jump = CLOCK_S[how % len(CLOCK_S)]
    if jump == CLOCK_S[-1] and how // len(CLOCK_S) % 3:
        jump = 300  # a week is rare
    world.now += jump
    world.say(f"   the clock jumps by {jump} s")


def crash(world: World, who: int, how: int) -> None:
    """The process ends some stages from now; with its machine, its tasks end too."""
    site = site_at(world, who)
    site.faults.crash_in = how % 8
    if how % 5 == 0:
        site.tasks.clear()


def fail(world: World, who: int, how: int) -> None:
    faults = site_at(world, who).faults
    if how % 3 == 2:
        faults.reads += 1 + how % 2
    else:
        faults.commits.append((UNWRITTEN, WRITTEN)[how % 3])


def fence(world: World, who: int, _: int) -> None:
    """Another process opens the journal while this one still lives, and answers nobody any more."""
    site = site_at(world, who)
    old = site.process
    world.say(f"   another process takes shard {site.index} over")

    def both() -> None:
        site.restart()
        to_the_end(old)

    site.guarded(both)


def crowd(world: World, who: int, how: int) -> None:
    site_at(world, who).crowd += 1 + how % 3


STEPS: dict[str, Callable[[World, int, int], None]] = {
    "device": act,
    "effect": effect,
    "tick": tick,
    "submit": submit,
    "late": late,
    "early": early,
    "advance": advance,
    "clock": clock,
    "crash": crash,
    "fail": fail,
    "publish": publish,
    "stranger": stranger,
    "wrong": wrong,
    "again": again,
    "profile": profile,
    "cancel": cancel,
    "fence": fence,
    "doom": doom,
    "replay": replay,
    "crowd": crowd,
}
