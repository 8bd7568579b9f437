"""Who and what the stories of the shard's tests are about."""

from typing import Any

from stillhouse.commands import ConfirmEnrolment, CreateProfile, Enrol
from stillhouse.entities import (
    ArchitectureSpec,
    CentralModel,
    Preprocessing,
    Principal,
    ProfileSpec,
    Role,
    Student,
)
from stillhouse.ids import principal_id
from stillhouse.rows import KeyPair

KEYS = {name: KeyPair(1, byte * 32, byte * 32) for name, byte in (("alice", "a1"), ("bob", "b2"))}
ALICE, BOB = (
    Principal(id=principal_id(Role.CLIENT, bytes.fromhex(keys.sign)), role=Role.CLIENT)
    for keys in KEYS.values()
)
STUDENT = Student(width=0.5, depths=(1, 1), bits=8)
SPEC = ProfileSpec(
    cpu_cores=1,
    memory_bytes=100_000,
    storage_bytes=50_000,
    latency_p95_ms=5,
    max_accuracy_drop=0.03,
)


def enrolled(who: Principal) -> tuple[Any, ...]:
    """The commands after which `who` is enrolled and has one profile."""
    keys = KEYS["alice" if who == ALICE else "bob"]
    enrolment = f"enr-{who.id[4:12]}-0000000000000001"
    return (
        Enrol(enrolment, Role.CLIENT, keys, (), "cc" * 32, "dd"),
        ConfirmEnrolment(enrolment, "cc" * 32),
        CreateProfile(who.id, f"prf-{who.id[4:12]}-0000000000000001", SPEC),
    )


def model(name: str = "wrist", version: int = 1) -> CentralModel:
    return CentralModel(
        name=name,
        version=version,
        digest="c" * 64,
        owner_id="own-00000001-0000000000000001",
        architecture=ArchitectureSpec(id="resnet1d"),
        preprocessing=Preprocessing(window=4, step=2, mean=(0.0,), deviation=(1.0,)),
        labels=("up", "down"),
        accuracy=0.9,
        accuracy_se=0.02,
        evaluation_set="a" * 64,
        size_bytes=600,
        parameters=150,
        family_digest="b" * 64,
        transfer_inputs="d" * 64,
        transfer_input_bytes=10,
        transfer_input_count=2,
    )
