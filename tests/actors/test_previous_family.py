"""What a version's family can be an update of: the latest one before it, if it can be read."""

from typing import Any

import pytest
import tiny
from plant import OWNER, Plant
from safetensors.numpy import save

from actors.registration import Files
from stillhouse.compress.container import Family
from stillhouse.decisions import Request
from stillhouse.errors import VerificationFailed
from stillhouse.versions import FILES, StartUpload, version_key

EARLIER = save({}, {"family": "{}"})  # its header says nothing of training


class Kept(Files):
    """The files of the second version at a vault in this process, which keeps `data` as the family
    of the first."""

    def __init__(self, data: bytes) -> None:
        plant, self.data = Plant("http://127.0.0.1"), data
        plant.announce("waves")
        self.rows = plant.store.rows
        spec = tiny.SPEC.model_copy(update={"files": dict.fromkeys(FILES, "2" * 64)})
        plant.store.apply([Request("second", "digest", OWNER, StartUpload("waves", spec))], 1.0)
        self.version = self.row(version_key("waves", 2))

    def row(self, key: str) -> Any:
        return self.rows([key])[key]

    def family(self, _: str) -> Family:
        return Family.from_bytes(self.data)


def test_the_family_of_the_version_before_is_what_devices_update_from() -> None:
    previous = Kept(tiny.family().to_bytes()).previous()
    assert previous is not None
    assert previous.digest == tiny.family().digest


def test_there_is_no_update_from_a_family_of_an_earlier_release() -> None:
    assert Kept(EARLIER).previous() is None


def test_a_damaged_family_is_no_reason_to_build_one_that_nobody_can_update_to() -> None:
    with pytest.raises(VerificationFailed):
        Kept(tiny.family().to_bytes()[:-1]).previous()
