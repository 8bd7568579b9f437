"""Lists: newest first, page by page, filtered, and nobody sees what is another's."""

import pytest
from api_house import SPEC, House, Member
from samples import CENTRAL

from stillhouse.entities import Role
from stillhouse.wire.messages import JobList, ModelList, ProfileList, UploadRequest

JOBS = "/distillation_jobs"


def submitted(who: Member, count: int, model: str = "wrist") -> list[str]:
    profile = who.create_profile(who.id, SPEC)
    return [who.submit(who.id, model, profile.id).id for _ in range(count)]


def jobs(who: Member, query: str = "") -> JobList:
    return JobList.model_validate_json(who.signed("GET", f"{JOBS}?{query}").content)


def every(who: Member, query: str) -> list[str]:
    """The ids of all pages, in order."""
    found, cursor = [], ""
    while True:
        page = jobs(who, f"{query}{cursor}")
        found += [job.id for job in page.jobs]
        if page.next_cursor is None:
            return found
        cursor = f"&cursor={page.next_cursor.replace('=', '%3D')}"


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_pages_together_are_all_jobs_newest_first(house: House, limit: int) -> None:
    device = house.member("device")
    ids = submitted(device, 5)
    assert every(device, f"limit={limit}") == ids[::-1]


def test_a_job_that_comes_while_one_pages_moves_nothing(house: House) -> None:
    device = house.member("device")
    ids = submitted(device, 3)
    first = jobs(device, "limit=2")
    submitted(device, 1)
    assert first.next_cursor is not None
    rest = jobs(device, f"limit=2&cursor={first.next_cursor.replace('=', '%3D')}")
    assert [job.id for job in (*first.jobs, *rest.jobs)] == ids[::-1]


def test_a_client_sees_its_own_and_an_operator_everybodys(house: House) -> None:
    ann, bob = house.member("ann"), house.member("bob")
    operator = house.member("operator", Role.OPERATOR)
    own, others = submitted(ann, 2), submitted(bob, 1)
    assert every(ann, "limit=9") == own[::-1]
    assert every(operator, "limit=9") == [*others, *own[::-1]]
    assert every(operator, f"client_id={bob.id}&limit=9") == others
    assert ann.signed("GET", f"{JOBS}?client_id={bob.id}").status_code == 404


def test_filters_hold_for_what_a_job_is_now(house: House) -> None:
    device = house.member("device")
    [kept, gone] = submitted(device, 2)
    [other] = submitted(device, 1, "arm@2")
    device.cancel(gone)
    assert every(device, "state=CANCELLED&limit=9") == [gone]
    assert every(device, "state=ACCEPTED&limit=9") == [other, kept]
    assert every(device, "central_model=arm&limit=9") == [other]
    assert every(device, "verdict=MET&limit=9") == []
    profile = device.status(other).job.edge_model_profile_id
    assert every(device, f"edge_model_profile_id={profile}&limit=9") == [other]


def test_profiles_come_page_by_page_oldest_first(house: House) -> None:
    device = house.member("device")
    ids = [device.create_profile(device.id, SPEC).id for _ in range(3)]
    path = f"/clients/{device.id}/edge_model_profile"
    first = ProfileList.model_validate_json(device.signed("GET", f"{path}?limit=2").content)
    rest = ProfileList.model_validate_json(
        device.signed("GET", f"{path}?limit=2&cursor={first.next_cursor}").content
    )
    assert [profile.id for profile in (*first.profiles, *rest.profiles)] == ids
    assert rest.next_cursor is None
    assert device.signed("GET", f"{path}?cursor=prf-1").status_code == 422


def test_central_models_come_by_name_and_owners_see_their_own(house: House) -> None:
    mine, other = house.member("mine", Role.OWNER), house.member("other", Role.OWNER)
    body = UploadRequest(spec=CENTRAL).model_dump_json().encode()
    for name in ("wrist", "arm", "leg"):
        mine.signed("POST", f"/central_models/{name}/versions", body)
    other.signed("POST", "/central_models/knee/versions", body)
    first = ModelList.model_validate_json(mine.signed("GET", "/central_models?limit=2").content)
    assert [model.name for model in first.models] == ["arm", "leg"]
    path = f"/central_models?limit=2&cursor={first.next_cursor}"
    rest = ModelList.model_validate_json(mine.signed("GET", path).content)
    assert [(model.name, model.versions) for model in rest.models] == [("wrist", 1)]
    assert rest.next_cursor is None
    operator = house.member("operator", Role.OPERATOR)
    all_names = ModelList.model_validate_json(operator.signed("GET", "/central_models").content)
    assert [model.name for model in all_names.models] == ["arm", "knee", "leg", "wrist"]
    assert {model.latest for model in all_names.models} == {None}
    client = house.member("device").signed("GET", "/central_models")
    assert client.json()["models"] == []  # none of them is available


def test_versions_come_page_by_page_and_strangers_see_only_what_is_available(house: House) -> None:
    mine, other = house.member("mine", Role.OWNER), house.member("other", Role.OWNER)
    body = UploadRequest(spec=CENTRAL).model_dump_json().encode()
    for _ in range(3):
        mine.signed("POST", "/central_models/wrist/versions", body)
    path = "/central_models/wrist/versions?limit=2"
    first = mine.signed("GET", path).json()
    assert [each["version"] for each in first["versions"]] == [1, 2]
    rest = mine.signed("GET", f"{path}&cursor={first['next_cursor']}").json()
    assert [each["version"] for each in rest["versions"]] == [3]
    assert rest["next_cursor"] is None
    assert other.signed("GET", path).status_code == 404
    client = house.member("device").signed("GET", path)
    assert client.json()["versions"] == []
