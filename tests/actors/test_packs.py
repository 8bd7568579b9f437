"""Packs: built once for all who wait, and cancelled only when nobody is left."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fakes import CLUSTER

from actors.packs import Packs
from actors.settings import ActorSettings
from stillhouse.compress.pack import Pack
from stillhouse.entities import BehaviourRecipe

WANTED = (BehaviourRecipe(top_k=2, first=0, count=1),)
FAMILY = "f" * 64


class SlowPacks(Packs):
    """A build takes until `done`; how many were begun is counted."""

    def __init__(self) -> None:
        super().__init__(ActorSettings(), CLUSTER, None)
        self.begun = 0
        self.done = threading.Event()

    def _build(self, *_: Any) -> Pack:
        self.begun += 1
        assert self.done.wait(10)
        return Pack(b"", (), ())


def asked(packs: SlowPacks, *names: str) -> list[Pack]:
    """What each of `names` gets, all asking at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        futures = [pool.submit(packs.get, FAMILY, WANTED, name) for name in names]
        while packs.begun == 0:
            time.sleep(0.001)
        packs.done.set()
        return [future.result(10) for future in futures]


def test_a_pack_is_built_once_however_many_wait() -> None:
    packs = SlowPacks()
    found = asked(packs, "ann", "bob", "eve")
    assert packs.begun == 1
    assert all(pack is found[0] for pack in found)


@pytest.mark.parametrize("times", [2, 5])
def test_the_same_order_may_come_again_while_the_first_waits(times: int) -> None:
    packs = SlowPacks()
    assert len(asked(packs, *["ann"] * times)) == times
    assert packs.begun == 1


def test_nobody_waits_once_all_have_their_pack() -> None:
    packs = SlowPacks()
    asked(packs, "ann", "ann", "bob")
    packs.cancel("ann")
    assert (packs._waiting, packs._single_flight) == ({}, {})
