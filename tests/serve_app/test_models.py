"""Central models over the API: an owner uploads in parts, sets aliases; others see little of it."""

import hashlib
import json
from typing import Any

import pytest
from api_house import House, Member
from samples import CENTRAL
from test_problems import is_problem

from stillhouse.entities import Role

FILES = {name: name.encode() * 10 for name in ("weights", "training", "transfer", "evaluation")}
SPEC = CENTRAL.model_copy(
    update={"files": {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}}
)
BODY = json.dumps({"spec": SPEC.model_dump(mode="json")}).encode()
VERSION = "/central_models/wrist/versions/1"


@pytest.fixture
def owner(house: House) -> Member:
    found = house.member("owner", Role.OWNER)
    answer = found.signed("POST", "/central_models/wrist/versions", BODY)
    assert (answer.status_code, answer.headers["location"]) == (201, VERSION)
    return found


def put(owner: Member, file: str, part: bytes, place: str | None = None, **headers: str) -> Any:
    kind = {"content_type": "application/octet-stream", **headers}
    if place is not None:
        kind["content_range"] = place
    return owner.signed("PUT", f"{VERSION}/files/{file}", part, **kind)


def test_a_version_whose_files_are_all_there_is_evaluated(owner: Member) -> None:
    for file, data in FILES.items():
        assert put(owner, file, data).json() == {"length": len(data), "complete": True}
    found = owner.signed("GET", VERSION).json()
    assert (found["state"], set(found["files"].values())) == ("EVALUATING", {True})
    [effect] = owner.house.backend.effects
    assert (effect.kind, effect.job_id) == ("evaluate", "wrist@1")


def test_a_file_comes_in_parts_and_a_part_that_comes_again_does_no_harm(owner: Member) -> None:
    data = FILES["weights"]
    first, second = f"bytes 0-29/{len(data)}", f"bytes 30-{len(data) - 1}/{len(data)}"
    for _ in range(2):
        assert put(owner, "weights", data[:30], first).json() == {"length": 30, "complete": False}
    for _ in range(2):
        answer = put(owner, "weights", data[30:], second)
        assert answer.json() == {"length": len(data), "complete": True}
    assert owner.signed("GET", VERSION).json()["files"]["weights"] is True


def test_nothing_is_added_to_a_file_that_was_complete(owner: Member) -> None:
    data = FILES["weights"]
    put(owner, "weights", data)
    more = put(owner, "weights", b"more", f"bytes {len(data)}-{len(data) + 3}/{len(data) + 4}")
    assert more.json() == {"length": len(data), "complete": True}
    assert owner.house.backend.files["wrist", 1, "weights"] == data


def test_a_part_beyond_a_gap_is_a_conflict(owner: Member) -> None:
    answer = put(owner, "weights", b"later", "bytes 50-54/70")
    assert is_problem(answer, 409)["code"] == "conflict"


@pytest.mark.parametrize(
    "place",
    ["bytes 0-9/10", "bytes 5-0/10", "bytes 0-4/5 ", "bytes */5", "0-4/5", "bytes 0-4/4",
     "bytes -1-4/5", "bytes 0-4/*", "bytes 0-4/9999999999999"],
)  # fmt: skip
def test_a_content_range_that_does_not_fit_is_refused(owner: Member, place: str) -> None:
    assert "Content-Range" in is_problem(put(owner, "weights", b"part", place), 422)["detail"]


@pytest.mark.parametrize("path", ["versions/2/files/weights", "versions/1/files/readme"])
def test_what_was_not_announced_is_not_taken(owner: Member, path: str) -> None:
    kind = {"content_type": "application/octet-stream"}
    answer = owner.signed("PUT", f"/central_models/wrist/{path}", b"data", **kind)
    assert is_problem(answer, 404)


def test_a_version_of_other_files_than_these_four_is_refused(owner: Member) -> None:
    spec = {**SPEC.model_dump(mode="json"), "files": {"pickle": "0" * 64}}
    body = json.dumps({"spec": spec}).encode()
    answer = owner.signed("POST", "/central_models/other/versions", body)
    assert "evaluation" in is_problem(answer, 422)["detail"]


def test_another_owner_sees_nothing_and_changes_nothing(house: House, owner: Member) -> None:
    other = house.member("another owner", Role.OWNER)
    assert is_problem(other.signed("GET", VERSION), 404)
    assert is_problem(put(other, "weights", FILES["weights"]), 404)
    assert is_problem(other.signed("POST", "/central_models/wrist/versions", BODY), 409)
    alias = other.signed("PUT", "/central_models/wrist/aliases/production", b'{"version": 1}')
    assert is_problem(alias, 404)


@pytest.mark.parametrize("role", [Role.CLIENT, Role.OPERATOR])
def test_a_version_is_nobodys_business_before_it_is_available(
    house: House, owner: Member, role: Role
) -> None:
    assert is_problem(house.member("other", role).signed("GET", VERSION), 404)


def test_an_alias_waits_until_its_version_is_available(owner: Member) -> None:
    answer = owner.signed("PUT", "/central_models/wrist/aliases/production", b'{"version": 1}')
    assert is_problem(answer, 409)["code"] == "conflict"
    assert is_problem(owner.signed("GET", "/central_models/wrist/aliases/production"), 404)


@pytest.mark.parametrize("name", ["%2e%2e", ".hidden", "UPPER", "a" * 65, "a%2Fb", "a%00"])
def test_a_name_that_is_none_makes_no_path(owner: Member, name: str) -> None:
    answer = owner.signed("POST", f"/central_models/{name}/versions", BODY)
    assert is_problem(answer, 404)["code"] == "not_found"
