"""Whole distillation jobs as the commands that make them: submitted, fetched, trained, judged MET.

Every command of a job is made before the clock starts, so that what is measured is what a shard
does with them. A client's device acknowledges `chunks` chunks in order; plans, deliveries and
verdicts are the same for all, as they would be for devices of one kind.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.makers import PROBES, SPEC, STUDENT, metric, model, plan
from stillhouse.commands import (
    Acknowledge,
    Announce,
    Compressed,
    ConfirmEnrolment,
    CreateProfile,
    Decided,
    Enrol,
    Planned,
    ReportInstallation,
    ReportMetrics,
    ReportProbes,
    ReportProgress,
    Start,
    Submit,
)
from stillhouse.decisions import Request
from stillhouse.entities import (
    SYSTEM,
    BehaviourRecipe,
    KnowledgeChunk,
    Principal,
    Role,
    Verdict,
    VerdictKind,
)
from stillhouse.ids import derived_id, principal_id
from stillhouse.rows import DeliveryRow, KeyPair

CHUNKS = 8
MANIFEST_BYTES = 300  # a chunk, in a sealed manifest
PLAN = plan(1)
METRIC = metric(1)
MET = Verdict(kind=VerdictKind.MET, why="within every limit", student=STUDENT)


@dataclass(frozen=True, slots=True)
class Client:
    """One of many; all that it is called follows from its number."""

    principal: Principal
    keys: KeyPair
    profile_id: str

    @classmethod
    def numbered(cls, number: int) -> "Client":
        sign = hashlib.sha256(b"client %d" % number).hexdigest()
        id = principal_id(Role.CLIENT, bytes.fromhex(sign))
        return cls(
            Principal(id=id, role=Role.CLIENT), KeyPair(1, sign, sign), derived_id("prf", id, 1)
        )

    def enrolled(self) -> Iterator[Request]:
        """The commands after which it has a profile."""
        id = self.principal.id
        enrolment = derived_id("enr", id)
        enrol = Enrol(enrolment, Role.CLIENT, self.keys, (), "cc" * 32, "dd" * 40)
        for command in (
            enrol,
            ConfirmEnrolment(enrolment, "cc" * 32),
            CreateProfile(id, self.profile_id, SPEC),
        ):
            yield Request("", "", self.principal, command)

    def job_id(self, number: int) -> str:
        return derived_id("job", self.principal.id, number)

    def submits(self, number: int) -> Request:
        id = self.job_id(number)
        submit = Submit(id, self.principal.id, "wrist", self.profile_id)
        return keyed(self.principal, submit, f"{id}/submit")


def announced() -> Request:
    """The central model that all jobs ask for."""
    return Request("", "", SYSTEM, Announce("wrist", model=model()))


def whole_job(
    client: Client, number: int, chunks: int = CHUNKS, *, probes: bool = True, turns: bool = True
) -> list[Request]:
    """A job's commands in their order; `turns` are those that a desk would give.

    `probes` for a client's first job; `number` counts its jobs from 1.
    """
    id, who = client.job_id(number), client.principal
    row = delivery(who.id, client.profile_id, id, number, chunks)

    def commands() -> Iterator[tuple[Principal, Any]]:
        if probes:
            yield who, ReportProbes(id, 1, PROBES)
        yield SYSTEM, Start(id, "r1.plan", 1)
        yield SYSTEM, Planned(id, "r1.plan", 1, PLAN)
        yield SYSTEM, Start(id, "r1.compress", 1)
        yield SYSTEM, Compressed(id, "r1.compress", 1, row)
        for index in range(chunks):
            yield who, Acknowledge(row.id, index, row.expected_acks[index])
        yield who, ReportInstallation(row.id, row.envelope_digest, number, ())
        yield who, ReportProgress(who.id, id, "r1.train", 1, 1.0, done=True)
        yield who, ReportMetrics(id, METRIC)
        yield SYSTEM, Start(id, "r1.decide", 1)
        yield SYSTEM, Decided(id, "r1.decide", 1, MET)

    return [
        client.submits(number),
        *(
            keyed(asks, command, f"{id}/{place}")
            for place, (asks, command) in enumerate(commands())
            if turns or not isinstance(command, Start)
        ),
    ]


def keyed(who: Principal, command: Any, key: str) -> Request:
    """As it comes from outside: its answer is kept for its repeat. Turns are the shard's own."""
    return Request("" if isinstance(command, Start) else key, key, who, command)


def delivery(client_id: str, profile_id: str, job_id: str, number: int, chunks: int) -> DeliveryRow:
    """The row of a delivery whose manifest is as long as a real one; nothing is sealed here."""
    return DeliveryRow(
        id=derived_id("dlv", job_id),
        client_id=client_id,
        job_id=job_id,
        profile_id=profile_id,
        round=1,
        attempt=1,
        version=number,
        family_digest="b" * 64,
        chunks=tuple(
            KnowledgeChunk(
                recipe=BehaviourRecipe(top_k=3, first=32 * index, count=32),
                digest=hashlib.sha256(b"%d" % index).hexdigest(),
                length=2000,
            )
            for index in range(chunks)
        ),
        train_after=chunks - 1,
        envelope=bytes(MANIFEST_BYTES * chunks),
        envelope_digest="c" * 64,
        wrapped_key=bytes(80),
        server_key_number=1,
        record_bytes=1 << 14,
        expected_acks=tuple(
            hashlib.sha256(f"{job_id} {index}".encode()).hexdigest() for index in range(chunks)
        ),
        expires_at=4e9,
    )
