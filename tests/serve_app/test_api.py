"""The API by example: enrol, declare, submit, look, cancel; repeats are harmless."""

import json

import pytest
from api_house import SPEC, House
from openapi_spec_validator import validate

from stillhouse.entities import Role
from stillhouse.errors import Forbidden, NotFound
from stillhouse.wire.identity import Identity, PublicKeys, open_challenge, sign_enrolment
from stillhouse.wire.messages import Work


def posted(name: str, role: Role = Role.CLIENT) -> dict[str, str]:
    """What somebody of this name posts to enrol."""
    who = Identity.derive(name.encode())
    signature = sign_enrolment(who, role)
    return {
        "role": role,
        "sign_key": who.public.sign,
        "receive_key": who.public.receive,
        "signature": signature,
    }


def test_a_device_enrols_declares_and_submits_before_the_model_is_there(house: House) -> None:
    device = house.member("device")
    profile = device.create_profile(device.id, SPEC)
    job = device.submit(device.id, "wrist", profile.id)
    assert job.state == "ACCEPTED"
    assert job.resolved_version is None
    [node] = device.status(job.id).graph
    assert (node.id, node.state) == ("await_model", "BLOCKED")


def test_a_submission_answers_202_and_says_where_to_look(house: House) -> None:
    device = house.member("device")
    profile = device.create_profile(device.id, SPEC)
    body = {
        "client_id": device.id,
        "central_model_version": "wrist@latest",
        "edge_model_profile_id": profile.id,
    }
    answer = device.signed("POST", "/distillation_jobs", json.dumps(body).encode())
    assert answer.status_code == 202
    there = answer.headers["location"]
    assert there == f"/distillation_jobs/{answer.json()['id']}/status"
    assert device.signed("GET", there).json()["job"] == answer.json()


def test_the_same_command_again_gets_the_same_answer_and_does_nothing_twice(house: House) -> None:
    device = house.member("device")
    body = SPEC.model_dump_json().encode()
    path, nonce = f"/clients/{device.id}/edge_model_profile", "the-same-nonce-every-time"
    answers = [device.signed("POST", path, body, nonce=nonce) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(device.signed("GET", path).json()["profiles"]) == 1


def test_the_same_nonce_with_another_body_is_a_conflict(house: House) -> None:
    device = house.member("device")
    path, nonce = f"/clients/{device.id}/edge_model_profile", "the-same-nonce-every-time"
    device.signed("POST", path, SPEC.model_dump_json().encode(), nonce=nonce)
    other = SPEC.model_copy(update={"cpu_cores": 2}).model_dump_json().encode()
    answer = device.signed("POST", path, other, nonce=nonce)
    assert (answer.status_code, answer.json()["code"]) == (409, "replayed")


def test_a_profile_changes_only_under_its_current_etag(house: House) -> None:
    device = house.member("device")
    profile = device.create_profile(device.id, SPEC)
    path = f"/clients/{device.id}/edge_model_profile/{profile.id}"
    body = SPEC.model_dump_json().encode()
    assert device.signed("GET", path).headers["etag"] == '"1"'
    assert device.signed("PUT", path, body).json()["code"] == "precondition_required"
    assert device.signed("PUT", path, body, if_match='"7"').json()["code"] == "precondition_failed"
    changed = device.signed("PUT", path, body, if_match='"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert device.signed("DELETE", path, if_match='"1"').status_code == 412
    assert device.signed("DELETE", path, if_match='"2"').status_code == 204
    assert device.signed("GET", path).status_code == 404


def test_a_profile_in_use_cannot_be_deleted_until_its_job_is_over(house: House) -> None:
    device = house.member("device")
    profile = device.create_profile(device.id, SPEC)
    job = device.submit(device.id, "wrist", profile.id)
    path = f"/clients/{device.id}/edge_model_profile/{profile.id}"
    assert device.signed("DELETE", path, if_match='"1"').json()["code"] == "profile_in_use"
    assert device.cancel(job.id).state == "CANCELLED"
    assert device.cancel(job.id).state == "CANCELLED"
    assert device.signed("DELETE", path, if_match='"1"').status_code == 204


def test_another_client_sees_nothing_and_an_operator_sees_all(house: House) -> None:
    device, stranger = house.member("device"), house.member("stranger")
    profile = device.create_profile(device.id, SPEC)
    job = device.submit(device.id, "wrist", profile.id)
    operator = house.member("operator", Role.OPERATOR)
    assert operator.status(job.id).job == job
    for refused in (
        lambda: stranger.status(job.id),
        lambda: stranger.cancel(job.id),
        lambda: stranger.create_profile(device.id, SPEC),
        lambda: stranger.submit(device.id, "wrist", profile.id),
        lambda: stranger.submit(stranger.id, "wrist", profile.id),
        lambda: stranger.http.read(Work, f"/clients/{device.id}/work"),
    ):
        with pytest.raises(NotFound):
            refused()


def test_a_role_may_do_what_the_table_says_and_nothing_else(house: House) -> None:
    owner = house.member("owner", Role.OWNER)
    with pytest.raises(Forbidden):
        owner.create_profile(owner.id, SPEC)
    device = house.member("device")
    body = b'{"version": 1}'
    answer = device.signed("PUT", "/central_models/wrist/aliases/production", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_enrolling_again_joins_again_and_the_wrong_challenge_does_not(house: House) -> None:
    device = house.member("device")
    assert device.enrol() == device.id
    offer = house.plain("POST", "/enrolments", json=posted("device")).json()
    path = f"/enrolments/{offer['enrolment_id']}/confirmation"
    answer = house.plain("POST", path, json={"challenge": "00" * 32})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("role", ["client", "owner", "operator", "auditor"])
def test_the_same_keys_again_get_the_same_answer_before_and_after_the_confirmation(
    house: House, role: str
) -> None:
    body, device = posted("device", Role(role)), Identity.derive(b"device")
    first, again = (house.plain("POST", "/enrolments", json=body) for _ in range(2))
    assert (first.status_code, first.content) == (201, again.content)
    offer = first.json()
    challenge = open_challenge(
        device, bytes.fromhex(offer["sealed_challenge"]), offer["enrolment_id"]
    ).hex()
    path = f"/enrolments/{offer['enrolment_id']}/confirmation"
    joined = [house.plain("POST", path, json={"challenge": challenge}) for _ in range(2)]
    assert {answer.content for answer in joined} == {joined[0].content}
    assert joined[0].json()["principal_id"] == offer["principal_id"] == device.id(Role(role))
    assert house.plain("POST", "/enrolments", json=body).content == first.content


def test_keys_that_are_not_confirmed_sign_nothing(house: House) -> None:
    device = house.member("device")
    stranger = Identity.derive(b"stranger")
    house.plain("POST", "/enrolments", json=posted("stranger"))
    device.http.key_id = f"{stranger.id(Role.CLIENT)}/1"
    assert device.signed("GET", "/distillation_jobs?client_id=x").status_code == 401


def test_nobody_enrols_another_persons_keys_or_as_the_cluster(house: House) -> None:
    other = posted("other")
    stolen = {**posted("device"), "receive_key": other["receive_key"]}
    assert house.plain("POST", "/enrolments", json=stolen).json()["code"] == "unauthenticated"
    raised = {**posted("device"), "role": "owner"}
    assert house.plain("POST", "/enrolments", json=raised).json()["code"] == "unauthenticated"
    cluster = house.plain("POST", "/enrolments", json=posted("device", Role.SYSTEM))
    assert (cluster.status_code, cluster.json()["code"]) == (403, "forbidden")


def test_a_receive_key_that_nothing_can_be_sealed_to_is_refused(house: House) -> None:
    device = Identity.derive(b"device")
    device.public = PublicKeys(sign=device.public.sign, receive="00" * 32)
    body = {**posted("device"), "receive_key": "00" * 32,
            "signature": sign_enrolment(device, Role.CLIENT)}  # fmt: skip
    answer = house.plain("POST", "/enrolments", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_nobody_enrols_by_himself_where_the_development_mode_is_off(closed_house: House) -> None:
    with pytest.raises(Forbidden, match="development mode"):
        closed_house.member("device")


def test_a_story_tells_every_event_of_a_job(house: House) -> None:
    device = house.member("device")
    job = device.submit(device.id, "wrist", device.create_profile(device.id, SPEC).id)
    device.cancel(job.id)
    events = device.signed("GET", f"/distillation_jobs/{job.id}/story").json()["events"]
    assert [event["event"] for event in events] == [
        "JobSubmitted", "JobsAdded", "JobMoved", "JobClosed",
    ]  # fmt: skip


def test_a_device_that_waits_for_its_model_has_an_open_job_and_no_work(house: House) -> None:
    device = house.member("device")
    device.submit(device.id, "wrist", device.create_profile(device.id, SPEC).id)
    work = device.http.read(Work, f"/clients/{device.id}/work", "wait=0")
    assert (work.items, work.open_jobs) == ((), 1)


def test_chunks_are_elsewhere_and_the_answer_says_where(house: House) -> None:
    device = house.member("device")
    path = "/deliveries/dlv-00000000-0000000000000000/chunks/3"
    answer = device.signed("GET", f"{path}?from_record=2")
    assert answer.status_code == 307
    assert answer.headers["location"] == f"http://127.0.0.1:8701{path}?from_record=2"


def test_the_openapi_document_is_valid_and_names_every_problem(house: House) -> None:
    document = house.plain("GET", "/openapi.json").json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert all("default" in operation["responses"] for operation in operations)
    assert "JobRequest" in document["components"]["schemas"]


def test_health_needs_no_signature(house: House) -> None:
    assert house.plain("GET", "/healthz").json() == {"status": "alive"}
    assert house.plain("GET", "/readyz").json() == {"status": "ready"}


def test_typed_errors_reach_the_caller(house: House) -> None:
    device = house.member("device")
    with pytest.raises(NotFound, match="job-00000000"):
        device.status("job-00000000-0000000000000000")
