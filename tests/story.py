"""Who and what the stories of the shard's tests are about."""

from typing import Any

from benchmarks.makers import SPEC
from stillhouse.commands import ConfirmEnrolment, CreateProfile, Enrol
from stillhouse.entities import (
    Principal,
    Role,
)
from stillhouse.ids import principal_id
from stillhouse.rows import KeyPair

KEYS = {name: KeyPair(1, byte * 32, byte * 32) for name, byte in (("alice", "a1"), ("bob", "b2"))}
ALICE, BOB = (
    Principal(id=principal_id(Role.CLIENT, bytes.fromhex(keys.sign)), role=Role.CLIENT)
    for keys in KEYS.values()
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
