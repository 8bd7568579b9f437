"""Every mistake on every route is a problem document with a stable code; none is a 500."""

import base64
import json
from typing import Any

import pytest
from api_house import SPEC, URL, House, Member
from samples import NAMES, OPERATIONS, UNSIGNED, WITH_JSON, document, place, valid

from stillhouse.errors import JournalUnavailable

SIGNED = sorted(set(OPERATIONS) - UNSIGNED)
NONCE = "nonce-nonce-nonce-nonce"
NAN = base64.urlsafe_b64encode(b"nan job").decode().replace("=", "%3D")


def is_problem(answer: Any, status: int | None = None) -> dict[str, Any]:
    assert answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:stillhouse:problem:{problem['code']}"
    assert status in (None, answer.status_code), answer.text
    return problem


def ask(device: Member, operation: str, body: bytes | None, **names: str) -> Any:
    """Signed where the route wants it, plain where it does not."""
    method, path = place(operation, **names)
    if operation in UNSIGNED:
        kind = {"content-type": "application/json"}
        return device.house.plain(method, path, content=body, headers=kind)
    return device.signed(method, path, body)


# --- who asks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", SIGNED)
def test_an_unsigned_request_is_401_on_every_route(door: House, operation: str) -> None:
    method, path = place(operation)
    answer = door.plain(method, path, content=valid(operation))
    assert is_problem(answer, 401)["code"] == "unauthenticated"


@pytest.mark.parametrize("operation", SIGNED)
def test_a_signature_of_something_else_is_401_on_every_route(
    device: Member, operation: str
) -> None:
    signed = device.http.request(URL, "GET", "/healthz", "", {}, None, NONCE)
    headers = {n: signed.headers[n] for n in ("signature", "signature-input")}
    method, path = place(operation)
    answer = device.house.plain(method, path, headers=headers)
    assert is_problem(answer, 401)["code"] == "unauthenticated"


def test_whoever_is_not_known_learns_nothing_of_which_routes_there_are(door: House) -> None:
    assert is_problem(door.plain("GET", "/nothing/here"), 401)["code"] == "unauthenticated"
    assert is_problem(door.plain("DELETE", "/distillation_jobs"), 401)


def test_a_signature_with_a_doubled_header_is_refused(device: Member) -> None:
    path = f"/distillation_jobs/{NAMES['job_id']}/status"
    signed = device.http.request(URL, "GET", path, "", {}, None, NONCE)
    doubled = [*signed.headers.raw, (b"signature", b"stillhouse=:AAAA:")]
    is_problem(device.house.plain("GET", path, headers=doubled), 401)


# --- what is named -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", SIGNED)
@pytest.mark.parametrize("id", ["..%2f", "%0a", "%ff", "a" * 300, "job-0-0", "cursor", "-1"])
def test_a_malformed_id_is_a_problem_on_every_route(
    device: Member, operation: str, id: str
) -> None:
    names = {name for name in NAMES if f"{{{name}}}" in place_of(operation)}
    if names:
        answer = ask(device, operation, valid(operation), **dict.fromkeys(names, id))
        assert is_problem(answer)["code"] in {"not_found", "forbidden", "invalid"}


def place_of(operation: str) -> str:
    return operation + ("{client_id}" if operation == "GET /distillation_jobs" else "")


@pytest.mark.parametrize("operation", sorted(each for each in OPERATIONS if "_id}" in each))
def test_an_id_of_another_kind_is_not_found_on_every_route(house: House, operation: str) -> None:
    device = house.member("device")
    profile = device.create_profile(device.id, SPEC)
    job = device.submit(device.id, "wrist", profile.id)
    mine = {"client_id": device.id, "profile_id": profile.id, "job_id": job.id}
    names = [n for n in (*mine, "delivery_id", "enrolment_id") if f"{{{n}}}" in operation]
    for kind, id in mine.items():
        wrong = {name: id for name in names if name != kind}
        if wrong and "/chunks/" not in operation:  # answered from the id alone
            answer = ask(device, operation, valid(operation), **{**mine, **wrong})
            assert is_problem(answer, 404)["code"] == "not_found"


@pytest.mark.parametrize("kind", ["client", "job", "catalogue/wrist", "cursor/vault"])
def test_a_job_whose_profile_is_something_else_is_refused(house: House, kind: str) -> None:
    device = house.member("device")
    job = device.submit(device.id, "wrist", device.create_profile(device.id, SPEC).id)
    id = {"client": device.id, "job": job.id}.get(kind, kind)
    body = valid("POST /distillation_jobs", client_id=device.id, edge_model_profile_id=id)
    assert is_problem(device.signed("POST", "/distillation_jobs", body), 404)


@pytest.mark.parametrize(
    "operation", [each for each in SIGNED if "{client_id}" in each or "{job_id}" in each]
)
def test_what_is_another_clients_looks_as_if_it_were_not_there(
    house: House, operation: str
) -> None:
    device, stranger = house.member("device"), house.member("stranger")
    profile = device.create_profile(device.id, SPEC)
    job = device.submit(device.id, "wrist", profile.id)
    names = {"client_id": device.id, "profile_id": profile.id, "job_id": job.id}
    before = device.status(job.id)
    answer = ask(stranger, operation, valid(operation), **names)
    assert is_problem(answer, 404)["code"] == "not_found"
    assert device.status(job.id) == before


def test_an_unknown_route_and_a_wrong_method_are_problems(device: Member) -> None:
    assert is_problem(device.signed("GET", "/nothing/here"), 404)["code"] == "not_found"
    assert is_problem(device.signed("GET", "/distillation_jobs/"), 404)["code"] == "not_found"
    answer = device.signed("DELETE", "/distillation_jobs")
    assert is_problem(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"]


# --- what is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", WITH_JSON)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"a": NaN}', b'{"unknown": 1}', b"\xff\xfe",
     b'{"a": "\\ud800"}', b"[" * 5000, b'{"a":' * 2000],
)  # fmt: skip
def test_a_body_that_is_not_what_the_route_reads_is_invalid(
    device: Member, operation: str, body: bytes
) -> None:
    assert is_problem(ask(device, operation, body), 422)["code"] == "invalid"


@pytest.mark.parametrize("operation", WITH_JSON)
def test_a_field_that_is_missing_is_named(device: Member, operation: str) -> None:
    optional = {"holdings", "done", "probe_answers", "energy_mj", "training_memory_bytes"}
    optional |= {"source", "priority", "deadline_s", "strict"}
    for field in document(operation).keys() - optional:
        body = {name: value for name, value in document(operation).items() if name != field}
        problem = is_problem(ask(device, operation, json.dumps(body).encode()), 422)
        assert f"{field}: field required" in problem["detail"]


@pytest.mark.parametrize("operation", WITH_JSON)
def test_a_field_that_nobody_knows_is_named(device: Member, operation: str) -> None:
    problem = is_problem(ask(device, operation, valid(operation, misspelt=1)), 422)
    assert "misspelt: extra inputs" in problem["detail"]


@pytest.mark.parametrize("operation", WITH_JSON)
def test_a_field_of_the_wrong_type_is_named(device: Member, operation: str) -> None:
    for field, value in document(operation).items():
        for wrong in ("text", -0.5) if isinstance(value, dict | list) else ({"a": 1}, [[]]):
            answer = ask(device, operation, valid(operation, **{field: wrong}))
            assert field in is_problem(answer, 422)["detail"]


@pytest.mark.parametrize("operation", WITH_JSON)
def test_a_number_that_is_none_or_below_its_range_is_named(device: Member, operation: str) -> None:
    for field, value in document(operation).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            for wrong in (-1, float("nan"), float("inf"), float("-inf"), "1", True):
                answer = ask(device, operation, valid(operation, **{field: wrong}))
                assert field in is_problem(answer, 422)["detail"], (field, wrong)


@pytest.mark.parametrize("operation", WITH_JSON)
def test_an_oversized_body_is_413_on_every_route(device: Member, operation: str) -> None:
    body = b'"' + b"a" * (300 << 10) + b'"'
    assert is_problem(ask(device, operation, body), 413)["code"] == "too_large"


def test_a_limit_of_nothing_at_all_is_refused(device: Member) -> None:
    path = f"/clients/{device.id}/edge_model_profile"
    for field in ("cpu_cores", "memory_bytes", "storage_bytes", "latency_p95_ms"):
        body = SPEC.model_dump(mode="json") | {field: 0}
        assert field in is_problem(device.signed("POST", path, json.dumps(body).encode()))["detail"]


def test_no_problem_repeats_what_was_sent(device: Member) -> None:
    body = valid("POST /distillation_jobs", central_model_version="A SECRET")
    assert "SECRET" not in device.signed("POST", "/distillation_jobs", body).text


def test_oversized_headers_are_431(door: House) -> None:
    answer = door.plain("GET", "/healthz", headers={"x-padding": "a" * (17 << 10)})
    assert is_problem(answer, 431)["code"] == "headers_too_large"


def test_a_body_of_another_type_is_415(device: Member) -> None:
    path = f"/clients/{device.id}/edge_model_profile"
    answer = device.signed("POST", path, b"cpu: 1", content_type="application/yaml")
    assert is_problem(answer, 415)["code"] == "unsupported_format"


def test_a_wrong_query_names_the_parameter(device: Member) -> None:
    for wait in ("-1", "nan", "inf", "61", "soon"):
        answer = device.signed("GET", f"/clients/{device.id}/work?wait={wait}")
        assert "wait" in is_problem(answer, 422)["detail"]
    for query in (
        "limit=0",
        "limit=201",
        "state=LOST",
        "verdict=GOOD",
        "cursor=%25",
        "cursor=abc",
        f"cursor={NAN}",
    ):
        answer = device.signed("GET", f"/distillation_jobs?{query}")
        assert query.partition("=")[0] in is_problem(answer, 422)["detail"]


def test_if_match_that_is_no_etag_of_ours_is_refused(device: Member) -> None:
    path = f"/clients/{device.id}/edge_model_profile/{NAMES['profile_id']}"
    for etag in ("1", '"0"', '"one"', 'W/"1"', "*", '"1", "2"', '"-1"', ""):
        answer = device.signed("DELETE", path, if_match=etag)
        assert "If-Match" in is_problem(answer, 422)["detail"], etag


# --- what goes wrong on our side -----------------------------------------------------------------


def test_a_journal_that_cannot_commit_is_503_with_the_time_to_come_back(house: House) -> None:
    device = house.member("device")

    async def fail(*_: Any) -> Any:
        raise JournalUnavailable("the disk is full")

    house.backend.apply = fail  # type: ignore[method-assign]
    body = SPEC.model_dump_json().encode()
    answer = device.signed("POST", f"/clients/{device.id}/edge_model_profile", body)
    assert (answer.status_code, answer.json()["code"]) == (503, "journal_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_bug_is_a_problem_without_details(house: House) -> None:
    device = house.member("device")

    async def fail(*_: Any) -> Any:
        raise KeyError("a secret")

    house.backend.apply = fail  # type: ignore[method-assign]
    body = SPEC.model_dump_json().encode()
    answer = device.signed("POST", f"/clients/{device.id}/edge_model_profile", body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
