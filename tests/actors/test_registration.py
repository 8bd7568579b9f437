"""Registration on a real cluster: what was built from the same files is not built again."""

import pytest
from cluster_house import House

pytestmark = pytest.mark.slow


def test_the_same_files_under_another_name_reuse_the_family(house: House) -> None:
    house.register("waves-first")
    again = house.register("waves-second")
    assert again.family_reused
    assert "built before" in again.why
