"""The shard under any story: commands right and wrong, late, early and doubled, from anyone.

After every step: a job runs only after all its parents (I1), a transfer opens only after the ack
before it (I2), replay of the committed events gives the very rows, and a repeat changes nothing
(I4); at the end every distillation job can be brought to its end (I3).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from fakes import Inline, memory, rules
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from story import ALICE, BOB, enrolled

from actors.desk import Desk
from benchmarks.makers import PROBES, SPEC, STUDENT, metric, model, plan
from cluster.store import Store
from stillhouse import shard
from stillhouse.commands import (
    Acknowledge,
    Announce,
    Arrive,
    Cancel,
    Compressed,
    Decided,
    DeleteProfile,
    EffectFailed,
    Expire,
    Planned,
    Renew,
    ReplaceProfile,
    ReplayDeadLetter,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    Submit,
)
from stillhouse.decisions import Answer, NotLoaded, Request
from stillhouse.entities import (
    SYSTEM,
    Action,
    BehaviourRecipe,
    JobState,
    KnowledgeChunk,
    Principal,
    Role,
    Verdict,
    VerdictKind,
)
from stillhouse.errors import Conflict, NotFound, StaleAttempt, StillhouseError
from stillhouse.events import EVENTS
from stillhouse.jobs import ON_CLUSTER, OVER, Job, Kind, State
from stillhouse.listing import START
from stillhouse.rounds import acknowledged
from stillhouse.rows import DeliveryRow, DistillationJobRow
from stillhouse.schedule import CLUSTER_LEASE_S, FOLLOW_UP_S

NAMES = ("wrist", "ankle")
IN_FLIGHT = 3
UNDER_WAY = {State.RUNNING, State.WAITING_CLIENT}
OPERATOR = Principal(id="opr-00000001-0000000000000001", role=Role.OPERATOR)
STARTED = {State.READY, State.RUNNING, State.WAITING_CLIENT, State.SUCCEEDED}


class Story(RuleBasedStateMachine):
    """One shard with two clients; every command goes through the real store and journal."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = memory()
        self.store = Store(rules(shard), self.journal)
        self.line = Inline(self.store)
        self.desk = Desk(self.line, self.store, self.journal, IN_FLIGHT)
        self.now = 1000.0
        self.count = 0
        self.job_ids: list[str] = []
        self.followed: list[float] = []  # when a metric opened a job
        self.said: list[tuple[Request, Answer]] = []
        for who in (ALICE, BOB):
            for command in enrolled(who):
                self.do(who, command)

    # --- speaking to the shard ---

    def do(self, who: Principal, command: Any) -> Answer | StillhouseError:
        self.count += 1
        self.now += 1
        request = Request(f"key-{self.count}", f"digest-{self.count}", who, command)
        before = self.everything()
        [answer] = self.line.apply([request], self.now)
        if isinstance(answer, StillhouseError):
            assert self.everything() == before
        self.start_what_is_ready()
        if isinstance(answer, Answer):
            self.said.append((request, answer))
            self.opened_by_a_metric(answer.document)
        return answer

    def start_what_is_ready(self) -> None:
        """As the actor does after each commit."""
        began = 1
        while began:
            for applied in self.line.told():
                self.desk.note(applied.events)
            began = self.desk.start_ready(self.now)

    def opened_by_a_metric(self, document: Any) -> None:
        if isinstance(document, dict) and document.get("opened_job"):
            self.job_ids.append(document["opened_job"])
            self.followed.append(self.now)

    def everything(self) -> dict[str, bytes]:
        return dict(self.journal._volume.rows)

    def all_jobs(self) -> list[DistillationJobRow]:
        return [row for row in self.store.rows(self.job_ids).values() if row is not None]

    def nodes(self, kinds: set[Kind], state: State) -> list[tuple[DistillationJobRow, Job]]:
        found = [(job, node) for job in self.all_jobs() for node in job.graph.values()]
        return [(j, node) for j, node in found if node.kind in kinds and node.state is state]

    def version(self, job: DistillationJobRow) -> int:
        versions = self.store.rows([job.client_id])[job.client_id].manifest_versions
        return int(versions.get(job.profile.id, 0)) + 1

    # --- what clients do ---

    @rule(who=st.sampled_from([ALICE, BOB]), name=st.sampled_from(NAMES))
    def submit(self, who: Principal, name: str) -> None:
        id = f"job-{who.id[4:12]}-{self.count:016x}"
        profile = f"prf-{who.id[4:12]}-0000000000000001"
        if isinstance(self.do(who, Submit(id, who.id, name, profile)), Answer):
            self.job_ids.append(id)

    @rule(name=st.sampled_from(NAMES))
    def announce(self, name: str) -> None:
        self.do(SYSTEM, Announce(name, model=model(name)))
        for id in self.journal.waiting(name, "", 100):
            self.do(SYSTEM, Arrive(id))

    @precondition(lambda self: self.nodes({Kind.PROBE}, State.WAITING_CLIENT))
    @rule(late=st.booleans())
    def report_probes(self, late: bool) -> None:
        job, node = self.nodes({Kind.PROBE}, State.WAITING_CLIENT)[0]
        answer = self.do(owner(job), ReportProbes(job.id, node.attempt - late, PROBES))
        assert isinstance(answer, StillhouseError) == late

    @precondition(lambda self: self.nodes({Kind.PLAN}, State.RUNNING))
    @rule(action=st.sampled_from([*Action, None]))
    def planned(self, action: Action | None) -> None:
        job, node = self.nodes({Kind.PLAN}, State.RUNNING)[0]
        place = (job.id, node.id, node.attempt)
        if action is None:
            verdict = Verdict(kind=VerdictKind.INFEASIBLE, why="nothing fits")
            self.do(SYSTEM, Planned(*place, verdict))
        else:
            self.do(SYSTEM, Planned(*place, plan(job.round + 1, action)))

    @precondition(lambda self: self.nodes({Kind.COMPRESS}, State.RUNNING))
    @rule(chunks=st.integers(1, 4))
    def compressed(self, chunks: int) -> None:
        job, node = self.nodes({Kind.COMPRESS}, State.RUNNING)[0]
        place = (job.id, node.id, node.attempt)
        self.do(SYSTEM, Compressed(*place, delivery(job, node, chunks, self.version(job))))

    @precondition(lambda self: any(job.deliveries for job in self.all_jobs()))
    @rule(data=st.data(), right=st.booleans())
    def acknowledge(self, data: st.DataObject, right: bool) -> None:
        job = data.draw(st.sampled_from([job for job in self.all_jobs() if job.deliveries]))
        row: DeliveryRow = self.store.rows(job.deliveries[-1:])[job.deliveries[-1]]
        index = data.draw(st.integers(0, len(row.chunks)))
        ack = f"{index:064x}" if right else "f" * 64
        done = acknowledged(job.graph, row.round)
        answer = self.do(owner(job), Acknowledge(row.id, index, ack))
        if not right or index > done or index == len(row.chunks):
            assert isinstance(answer, StillhouseError)
        elif index < done:
            assert answer == Answer(204)  # the same ack again is a repeat, not an error

    @precondition(lambda self: self.nodes({Kind.TRAIN}, State.WAITING_CLIENT))
    @rule(done=st.booleans())
    def progress(self, done: bool) -> None:
        job, node = self.nodes({Kind.TRAIN}, State.WAITING_CLIENT)[0]
        report = ReportProgress(job.client_id, job.id, node.id, node.attempt, 0.5, done)
        self.do(owner(job), report)

    @precondition(lambda self: any(job.plans for job in self.all_jobs()))
    @rule(data=st.data(), shift=st.sampled_from([0, 0, 0, 1]))
    def report_metrics(self, data: st.DataObject, shift: int) -> None:
        job = data.draw(st.sampled_from([job for job in self.all_jobs() if job.plans]))
        self.do(owner(job), ReportMetrics(job.id, metric(job.round + shift)))

    @precondition(lambda self: any(job.verdict for job in self.all_jobs()))
    @rule(data=st.data(), accuracy=st.sampled_from([0.9, 0.6]))
    def measure_after_the_verdict(self, data: st.DataObject, accuracy: float) -> None:
        job = data.draw(st.sampled_from([job for job in self.all_jobs() if job.verdict]))
        late = metric(1).model_copy(update={"accuracy": accuracy})
        answer = self.do(owner(job), ReportMetrics(job.id, late))
        assert isinstance(answer, Answer)
        assert answer.document["kept"]
        assert accuracy < 0.87 or not answer.document["opened_job"]

    @precondition(lambda self: self.nodes({Kind.DECIDE}, State.RUNNING))
    @rule(kind=st.sampled_from([VerdictKind.ADJUST, VerdictKind.ADJUST, *VerdictKind]))
    def decided(self, kind: VerdictKind) -> None:
        job, node = self.nodes({Kind.DECIDE}, State.RUNNING)[0]
        verdict = Verdict(kind=kind, why="because", student=STUDENT)
        self.do(SYSTEM, Decided(job.id, node.id, node.attempt, verdict))

    @rule(data=st.data(), steps=st.integers(1, 8))
    def the_story_goes_on(self, data: st.DataObject, steps: int) -> None:
        """The natural next step of some job, several times: without this, few get far."""
        for _ in range(steps):
            nodes = [(j, n) for j in self.all_jobs() for n in j.graph.values()]
            ready = [(j, n) for j, n in nodes if n.state in UNDER_WAY]
            if not ready:
                return
            kind = data.draw(st.sampled_from([VerdictKind.ADJUST, VerdictKind.MET]))
            self.next_step(*data.draw(st.sampled_from(ready)), kind)

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def a_client_is_done_and_its_student_breaks(self, data: st.DataObject) -> None:
        """One of its jobs ends MET, the others are cancelled, and then comes a bad metric."""
        job = data.draw(st.sampled_from(self.running()))
        for other in self.all_jobs():
            if other.client_id == job.client_id and other.id != job.id:
                self.do(owner(other), Cancel(other.id))
        while self.store.rows([job.id])[job.id].verdict is None:
            [now] = self.store.rows([job.id]).values()
            nodes = list(now.graph.values())
            node = next((node for node in nodes if node.state in UNDER_WAY), None)
            if node is None:  # the pause after a failed attempt
                self.now += max(node.until or 0 for node in nodes if node.state is State.READY)
                self.expire(now.id)
            else:
                self.next_step(now, node, VerdictKind.MET)
        bad = metric(1).model_copy(update={"accuracy": 0.6})
        self.do(owner(job), ReportMetrics(job.id, bad))

    def running(self) -> list[DistillationJobRow]:
        return [job for job in self.all_jobs() if job.state is JobState.RUNNING]

    def next_step(self, job: DistillationJobRow, node: Job, kind: VerdictKind) -> None:
        """What comes next of a node that is under way; `kind` is the verdict if it decides."""
        place = (job.id, node.id, node.attempt)
        command: Any
        match node.kind:
            case Kind.PROBE:
                command = ReportProbes(job.id, node.attempt, PROBES)
            case Kind.PLAN:
                command = Planned(*place, plan(job.round + 1, Action.DELIVER))
            case Kind.COMPRESS:
                command = Compressed(*place, delivery(job, node, 3, self.version(job)))
            case Kind.TRANSFER:
                index = int(node.id.rpartition(".")[2])
                command = Acknowledge(job.deliveries[-1], index, f"{index:064x}")
            case Kind.TRAIN:
                command = ReportProgress(job.client_id, *place, 1.0, True)
            case Kind.MEASURE:
                command = ReportMetrics(job.id, metric(job.round))
            case Kind.DECIDE:
                verdict = Verdict(kind=kind, why="because", student=STUDENT)
                command = Decided(*place, verdict)
        who = SYSTEM if node.kind in ON_CLUSTER else owner(job)
        assert isinstance(self.do(who, command), Answer)

    # --- what goes wrong ---

    @precondition(lambda self: self.nodes(set(ON_CLUSTER), State.RUNNING))
    @rule(data=st.data(), late=st.booleans())
    def effect_failed(self, data: st.DataObject, late: bool) -> None:
        job, node = data.draw(st.sampled_from(self.nodes(set(ON_CLUSTER), State.RUNNING)))
        failed = EffectFailed(job.id, node.id, node.attempt - late, "worker died")
        assert isinstance(self.do(SYSTEM, failed), StillhouseError) == late

    @rule(data=st.data(), hours=st.sampled_from([0, 1, 24 * 8]))
    def time_passes(self, data: st.DataObject, hours: int) -> None:
        self.now += hours * 3600
        late = self.journal.due(self.now, 3)
        for each in late:
            self.do(SYSTEM, Expire(each.job_id, each.node, each.attempt))

    def expire(self, job_id: str) -> None:
        for each in self.journal.due(self.now, 10_000):
            if each.job_id == job_id and each.node:
                self.do(SYSTEM, Expire(each.job_id, each.node, each.attempt))

    @precondition(lambda self: self.journal.due(1e12, 1))
    @rule(data=st.data(), shift=st.integers(0, 1))
    def what_is_not_due_does_not_expire(self, data: st.DataObject, shift: int) -> None:
        each = data.draw(st.sampled_from(self.journal.due(1e12, 100)))
        if each.at > self.now + 1:
            early = Expire(each.job_id, each.node, each.attempt - shift)
            assert isinstance(self.do(SYSTEM, early), StaleAttempt)

    @precondition(lambda self: self.nodes(set(ON_CLUSTER), State.RUNNING))
    @rule(data=st.data(), late=st.booleans())
    def an_effect_goes_on(self, data: st.DataObject, late: bool) -> None:
        job, node = data.draw(st.sampled_from(self.nodes(set(ON_CLUSTER), State.RUNNING)))
        self.now += 100
        answer = self.do(SYSTEM, Renew(job.id, node.id, node.attempt - late, "half"))
        assert isinstance(answer, StillhouseError) == late
        if not late:
            renewed = self.store.rows([job.id])[job.id].graph[node.id]
            assert renewed.until == self.now + CLUSTER_LEASE_S

    @precondition(lambda self: self.nodes(set(ON_CLUSTER), State.RUNNING))
    @rule(data=st.data(), replays=st.integers(0, 2))
    def an_effect_fails_for_good_and_is_replayed(self, data: st.DataObject, replays: int) -> None:
        job, node = data.draw(st.sampled_from(self.nodes(set(ON_CLUSTER), State.RUNNING)))
        for _ in range(replays + 1):
            before = self.journal.dead(START, 100)
            while (now := self.store.rows([job.id])[job.id]).state is JobState.RUNNING:
                at = now.graph[node.id]
                if at.state is State.RUNNING:
                    self.do(SYSTEM, EffectFailed(job.id, node.id, at.attempt, "it died"))
                elif at.until is None:  # it waits for its turn: the effects of others hold it
                    return
                else:
                    self.now = max(self.now, at.until)
                    self.expire(job.id)
            assert now.state in (JobState.FAILED, JobState.EXPIRED)
            if now.state is JobState.EXPIRED:
                return
            [letter] = set(self.journal.dead(START, 100)) - set(before)
            if replays:
                answer = self.do(OPERATOR, ReplayDeadLetter(letter))
                assert isinstance(answer, Answer), answer
                assert isinstance(self.do(OPERATOR, ReplayDeadLetter(letter)), Conflict)

    @precondition(lambda self: self.job_ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if data.draw(st.integers(0, 4)) == 0:
            job = data.draw(st.sampled_from(self.all_jobs()))
            self.do(owner(job), Cancel(job.id))

    @rule(who=st.sampled_from([ALICE, BOB]), revision=st.integers(1, 3), delete=st.booleans())
    def change_profile(self, who: Principal, revision: int, delete: bool) -> None:
        profile = f"prf-{who.id[4:12]}-0000000000000001"
        if delete:
            self.do(who, DeleteProfile(who.id, profile, revision + 7))
        else:
            self.do(who, ReplaceProfile(who.id, profile, SPEC, revision))

    @precondition(lambda self: self.job_ids)
    @rule(data=st.data())
    def a_stranger_asks(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.all_jobs()))
        stranger = BOB if job.client_id == ALICE.id else ALICE
        for command in (
            Cancel(job.id),
            ReportMetrics(job.id, metric(1)),
            ReportProbes(job.id, 1, ()),
            *(Acknowledge(id, 0, "0" * 64) for id in job.deliveries),
        ):
            assert isinstance(self.do(stranger, command), NotFound)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def the_same_again(self, data: st.DataObject) -> None:
        request, first = data.draw(st.sampled_from(self.said))
        if not self.journal.answers([request.key]):
            return  # it changed nothing, so nothing was stored
        before = self.everything()
        [again] = self.store.apply([request], self.now).answers
        assert again == first
        assert self.everything() == before

    # --- what must hold ---

    @invariant()
    def a_job_runs_only_after_all_its_parents(self) -> None:
        for job in self.all_jobs():
            for node in job.graph.values():
                if node.state in STARTED:
                    states = {job.graph[parent].state for parent in node.parents}
                    assert states <= {State.SUCCEEDED}, (job.id, node)

    @invariant()
    def a_transfer_opens_only_after_the_ack_before_it(self) -> None:
        for job in self.all_jobs():
            for row in self.store.rows(job.deliveries).values():
                done = acknowledged(job.graph, row.round)
                for index in range(done + 1, len(row.chunks)):
                    node = job.graph[f"r{row.round}.transfer.{index}"]
                    assert node.state in (State.BLOCKED, State.CANCELLED, State.SKIPPED)

    @invariant()
    def replay_of_the_events_gives_the_rows(self) -> None:
        replayed: dict[str, Any] = {}
        for stored in self.journal.events_after(0, 1_000_000):
            event = EVENTS.decode(stored.data)
            replayed.update(loaded(replayed, lambda rows, e=event: shard.evolve(rows, e)))
        kept = {key: shard.encode(row) for key, row in replayed.items() if row is not None}
        assert kept == self.everything()

    @invariant()
    def the_indexes_agree_with_the_graphs(self) -> None:
        open_jobs = [j for j in self.all_jobs() if j.state in (JobState.ACCEPTED, JobState.RUNNING)]
        nodes = [(job, node) for job in open_jobs for node in job.graph.values()]
        running = {(j.id, n.id, n.attempt) for j, n in nodes if n.state is State.RUNNING}
        assert {(e.job_id, e.node, e.attempt) for e in self.journal.outbox()} == running
        leased = {(j.id, n.id) for j, n in nodes if n.state is State.WAITING_CLIENT}
        leased |= {(id, node) for id, node, _ in running} | {(job.id, "") for job in open_jobs}
        paused = {(j.id, n.id) for j, n in nodes if n.state is State.READY and n.until}
        leased |= paused
        assert {(d.job_id, d.node) for d in self.journal.due(1e12, 10_000)} == leased
        untils = {(j.id, n.id): n.until for j, n in nodes} | {
            (j.id, ""): j.deadline for j in open_jobs
        }
        assert all(d.at == untils[d.job_id, d.node] for d in self.journal.due(1e12, 10_000))
        ready = {(j.id, n.id) for j, n in nodes if n.state is State.READY and not n.until}
        assert set(self.journal._volume.ready) == ready
        assert self.desk._running == {(id, node) for id, node, _ in running}
        assert len(running) <= IN_FLIGHT
        assert not ready or len(running) == IN_FLIGHT  # nothing waits while there is room
        for who in (ALICE, BOB):
            open_ids = [job.id for job in open_jobs if job.client_id == who.id]
            running_ids = {job.id for job in self.running()} & set(open_ids)
            assert set(self.journal.running_jobs(who.id, 1000)) == running_ids
            assert self.store.rows([who.id])[who.id].open_jobs == len(open_ids)
        waiting = {job.id for job in open_jobs if job.state is JobState.ACCEPTED}
        assert {id for name in NAMES for id in self.journal.waiting(name, "", 999)} == waiting

    @invariant()
    def what_is_over_has_nothing_open(self) -> None:
        for job in self.all_jobs():
            if job.state not in (JobState.ACCEPTED, JobState.RUNNING):
                assert {node.state for node in job.graph.values()} <= OVER
                assert (job.verdict is not None) == (job.state is JobState.ENDED)

    @invariant()
    def a_job_that_a_metric_opened_knows_the_one_before_it(self) -> None:
        jobs = {job.id: job for job in self.all_jobs()}
        following = [job for job in jobs.values() if job.follows]
        assert len(following) == len(self.followed)
        for job in following:
            old = jobs[job.follows]
            assert old.followed_by in jobs
            assert old.verdict.kind is VerdictKind.MET
            assert (old.client_id, old.asked) == (job.client_id, job.asked)
        for old in jobs.values():
            assert old.followed_by is None or jobs[old.followed_by].follows == old.id

    @invariant()
    def metrics_open_at_most_one_job_a_day(self) -> None:
        for who in (ALICE, BOB):
            at = sorted(j.submitted_at for j in self.all_jobs() if j.follows and owner(j) == who)
            assert all(after - before >= FOLLOW_UP_S for before, after in pairwise(at))

    def teardown(self) -> None:
        """I3: at its deadline at the latest, every job ends."""
        self.now += 300 * 86400
        for each in self.journal.due(self.now, 10_000):
            if each.node == "":
                self.do(SYSTEM, Expire(each.job_id, "", 0))
        for job in self.all_jobs():
            assert job.state not in (JobState.ACCEPTED, JobState.RUNNING)
        assert self.journal.due(1e12, 10) == []
        assert self.journal.outbox() == []


def owner(job: DistillationJobRow) -> Principal:
    return Principal(id=job.client_id, role=Role.CLIENT)


def loaded(rows: dict[str, Any], evolve: Callable[[dict[str, Any]], Any]) -> Any:
    """Evolve with absent rows filled in as they are asked for."""
    while True:
        try:
            return evolve(rows)
        except NotLoaded as missing:
            rows.update(dict.fromkeys(missing.keys))


def delivery(job: DistillationJobRow, node: Job, chunks: int, version: int) -> DeliveryRow:
    return DeliveryRow(
        id=f"dlv-{job.client_id[4:12]}-{version:08x}{job.id[-8:]}",
        client_id=job.client_id,
        job_id=job.id,
        profile_id=job.profile.id,
        round=job.round,
        attempt=node.attempt,
        version=version,
        family_digest="b" * 64,
        chunks=tuple(
            KnowledgeChunk(
                recipe=BehaviourRecipe(top_k=1, first=i, count=1), digest="a" * 64, length=1
            )
            for i in range(chunks)
        ),
        train_after=0,
        envelope=b"{}",
        envelope_digest="c" * 64,
        wrapped_key=b"k",
        server_key_number=1,
        record_bytes=1,
        expected_acks=tuple(f"{i:064x}" for i in range(chunks)),
        expires_at=1e12,
    )


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
