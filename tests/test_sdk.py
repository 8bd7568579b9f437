"""The Python client against the real API: what an owner seals arrives whole, jobs are followed."""

from collections.abc import Iterator

import anyio.from_thread
import pytest
import tiny
from api_house import SPEC, House, Member
from fakes import CLUSTER

from stillhouse.entities import Role
from stillhouse.errors import NotFound, StillhouseError, VerificationFailed
from stillhouse.sdk import PART_BYTES, Stillhouse
from stillhouse.wire.seal import open_artefact

FILES = {
    "weights": tiny.central_weights(),
    "training": tiny.recordings(1).to_parquet(),
    "transfer": tiny.recordings(2).unlabelled().to_parquet(),
    "evaluation": tiny.recordings(2).to_parquet(),
}


@pytest.fixture(scope="module")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def house(portal: anyio.from_thread.BlockingPortal) -> House:
    return House(portal, open_enrolment=True)


@pytest.fixture
def owner(house: House) -> Member:
    return house.member("owner", Role.OWNER)


def test_a_registered_model_arrives_sealed_for_the_cluster_alone(
    house: House, owner: Member
) -> None:
    version = owner.register("wrist", tiny.SPEC, FILES)
    assert (version.name, version.version, version.state) == ("wrist", 1, "EVALUATING")
    for file, plain in FILES.items():
        sealed = house.backend.files["wrist", 1, file]
        assert plain not in sealed
        assert open_artefact(sealed, CLUSTER, f"upload/wrist/{file}") == plain
        with pytest.raises(VerificationFailed):
            open_artefact(sealed, CLUSTER, f"upload/other/{file}")


def test_a_file_larger_than_one_request_goes_in_parts(house: House, owner: Member) -> None:
    large = bytes(2 * PART_BYTES + 1)
    owner.register("wrist", tiny.SPEC, {**FILES, "training": large})
    sealed = house.backend.files["wrist", 1, "training"]
    assert open_artefact(sealed, CLUSTER, "upload/wrist/training") == large


def test_a_version_that_does_not_become_available_in_time_is_an_error(owner: Member) -> None:
    version = owner.register("wrist", tiny.SPEC, FILES)
    heard: list[str] = []
    with pytest.raises(StillhouseError, match="EVALUATING"):
        owner.wait_available(version, timeout_s=0, heard=lambda found: heard.append(found.state))
    assert heard == ["EVALUATING"]
    with pytest.raises(NotFound):
        owner.version("wrist", 2)


def test_a_job_is_submitted_followed_and_cancelled(house: House) -> None:
    client = house.member("client")
    profile = client.create_profile(client.id, SPEC)
    job = client.submit(client.id, "wrist@production", profile.id)
    assert (job.state, job.edge_model_profile_id) == ("ACCEPTED", profile.id)
    with pytest.raises(TimeoutError, match="ACCEPTED"):
        client.wait(job.id, timeout_s=0, poll_s=0)
    client.cancel(job.id)
    assert client.wait(job.id, timeout_s=0).job.state == "CANCELLED"


def test_nobody_speaks_for_another(house: House) -> None:
    client, other = house.member("client"), house.member("other")
    job = client.submit(client.id, "wrist", client.create_profile(client.id, SPEC).id)
    with pytest.raises(NotFound):
        other.status(job.id)
    with pytest.raises(NotFound):
        other.create_profile(client.id, SPEC)


def test_the_connection_closes_with_the_block(owner: Member) -> None:
    with owner as same:
        assert isinstance(same, Stillhouse)
    with pytest.raises(RuntimeError, match="closed"):
        owner.anchors()
