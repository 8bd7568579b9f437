"""Who and what the stories are about: clients, central models, plans, metrics, deliveries."""

import zlib
from copy import copy
from functools import cache
from typing import Any

from benchmarks import makers
from benchmarks.makers import SPEC, STUDENT
from cluster.journal.contract import JournalIdentity
from cluster.journal.memory import MemoryJournal, Volume, initialise
from cluster.store import Store
from stillhouse import shard
from stillhouse.brief import CompressOrder
from stillhouse.commands import ConfirmEnrolment, CreateProfile, Enrol
from stillhouse.decisions import Request
from stillhouse.entities import (
    BehaviourRecipe,
    DistillationMetric,
    KnowledgeChunk,
    Principal,
    Role,
    Verdict,
    VerdictKind,
)
from stillhouse.errors import StillhouseError
from stillhouse.ids import derived_id, principal_id, shard_of
from stillhouse.rows import DeliveryRow, KeyPair

SHARDS = 2
BEGIN = 1_000_000.0  # seconds since the epoch
METRIC = makers.metric(1)
OPERATOR = Principal(id="opr-00000001-0000000000000001", role=Role.OPERATOR)
KEYS = tuple(KeyPair(1, byte * 32, byte * 32) for byte in ("a1", "b2", "c3"))
CLIENTS = tuple(
    Principal(id=principal_id(Role.CLIENT, bytes.fromhex(keys.sign)), role=Role.CLIENT)
    for keys in KEYS
)


def profile_id(client_id: str) -> str:
    return derived_id("prf", client_id, 1)


def identity(index: int) -> JournalIdentity:
    return JournalIdentity("simulated", f"shard-{index}", SHARDS)


def chance(seed: int, *of: object) -> int:
    """What looks like chance, and is the same at every attempt."""
    return zlib.crc32(repr((seed, of)).encode())


@cache
def enrolled(index: int) -> Volume:
    """The volume of a shard whose clients are enrolled and have a profile each."""
    volume = Volume()
    initialise(volume, identity(index))
    rules: Any = shard
    store = Store(rules, MemoryJournal(volume, identity(index)))
    for who, keys in zip(CLIENTS, KEYS, strict=True):
        if shard_of(who.id, SHARDS) == index:
            enrolment = derived_id("enr", who.id)
            for command in (
                Enrol(enrolment, Role.CLIENT, keys, (), "cc" * 32, "dd"),
                ConfirmEnrolment(enrolment, "cc" * 32),
                CreateProfile(who.id, profile_id(who.id), SPEC),
            ):
                [answer] = store.apply([Request("", "", who, command)], BEGIN).answers
                assert not isinstance(answer, StillhouseError)
    return volume


def fresh_volume(index: int) -> Volume:
    """A copy of its own: what is in the tables never changes, the tables do."""
    volume = copy(enrolled(index))
    for name in Volume.__slots__:
        if isinstance(getattr(volume, name), dict | list):
            setattr(volume, name, getattr(volume, name).copy())
    return volume


central_model = cache(makers.model)
plan = cache(makers.plan)


@cache
def verdict(kind: VerdictKind) -> Verdict:
    return Verdict(kind=kind, why="because", student=STUDENT)


def metric(round: int, mark: int, accuracy: float = 0.9) -> DistillationMetric:
    """`mark` tells it from every other metric of the story."""
    fields = {"round": max(1, round), "training_time_s": float(mark), "accuracy": accuracy}
    return METRIC.model_copy(update=fields)


@cache
def chunks(count: int) -> tuple[KnowledgeChunk, ...]:
    recipes = (BehaviourRecipe(top_k=1, first=i, count=1) for i in range(count))
    return tuple(KnowledgeChunk(recipe=each, digest="a" * 64, length=1) for each in recipes)


def ack(delivery_id: str, index: int) -> str:
    return f"{chance(index, delivery_id):064x}"


def delivery(order: CompressOrder, count: int, expires_at: float) -> DeliveryRow:
    """What the chunk server makes of an order."""
    id = derived_id("dlv", order.job_id, order.node, order.attempt, order.version)
    return DeliveryRow(
        id=id,
        client_id=order.client_id,
        job_id=order.job_id,
        profile_id=order.profile.id,
        round=order.plan.round,
        attempt=order.attempt,
        version=order.version,
        family_digest=order.model.family_digest,
        chunks=chunks(count),
        train_after=0,
        envelope=b"{}",
        envelope_digest=f"{chance(0, id):064x}",
        wrapped_key=b"k",
        server_key_number=1,
        record_bytes=1,
        expected_acks=tuple(ack(id, index) for index in range(count)),
        expires_at=expires_at,
    )
