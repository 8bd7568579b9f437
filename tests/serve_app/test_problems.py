"""Every mistake on every route is a problem document with a stable code; none is a 500."""

import json
from typing import Any

import pytest
from api_house import SPEC, House, Member
from fakes import LocalBackend

from serve_app.app import create_routes

JOB = "job-00000000-0000000000000000"
PROFILE = "prf-00000000-0000000000000000"
DELIVERY = "dlv-00000000-0000000000000000"
NAMES = {
    "client_id": "cli-00000000-0000000000000000",
    "profile_id": PROFILE,
    "job_id": JOB,
    "delivery_id": DELIVERY,
    "enrolment_id": "enr-00000000-0000000000000000",
    "index": "0",
    "name": "wrist",
    "version": "1",
    "file": "weights",
    "alias": "production",
}
OPEN = ("/healthz", "/readyz", "/trust_anchors", "/enrolments", "/openapi.json")


def operations() -> list[tuple[str, str]]:
    document = create_routes(LocalBackend(), open_enrolment=True).openapi()
    return [(method.upper(), path) for path, each in document["paths"].items() for method in each]


def filled(path: str, **names: str) -> str:
    return path.format(**{**NAMES, **names})


OPERATIONS = operations()
SIGNED = [each for each in OPERATIONS if not each[1].startswith(OPEN)]
WITH_JSON = [each for each in OPERATIONS if each[0] in ("POST", "PUT") and "files" not in each[1]
             and "cancel" not in each[1]]  # fmt: skip


def is_problem(answer: Any, status: int | None = None) -> dict[str, Any]:
    assert answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["code"]
    assert problem["type"].endswith(problem["code"]) or problem["code"] == "method_not_allowed"
    assert "Traceback" not in answer.text
    if status is not None:
        assert answer.status_code == status, answer.text
    return problem


@pytest.fixture
def device(house: House) -> Member:
    return house.member("device")


def ask(device: Member, method: str, path: str, body: bytes) -> Any:
    """Signed where the route wants it, plain where it does not."""
    if path.startswith(OPEN):
        kind = {"content-type": "application/json"}
        return device.house.plain(method, path, content=body, headers=kind)
    return device.signed(method, path, body)


@pytest.mark.parametrize(("method", "path"), SIGNED)
def test_an_unsigned_request_is_401_on_every_route(house: House, method: str, path: str) -> None:
    answer = house.plain(method, filled(path), content=b"{}" if method != "GET" else b"")
    assert is_problem(answer, 401)["code"] == "unauthenticated"


@pytest.mark.parametrize(("method", "path"), SIGNED)
def test_a_signature_of_something_else_is_401_on_every_route(
    device: Member, method: str, path: str
) -> None:
    signed = device.http._request(
        "http://127.0.0.1:8700", "GET", "/healthz", "", {}, None, "nonce-nonce-nonce-nonce"
    )
    headers = {n: signed.headers[n] for n in ("signature", "signature-input")}
    answer = device.house.plain(method, filled(path), headers=headers)
    assert is_problem(answer, 401)["code"] == "unauthenticated"


@pytest.mark.parametrize(("method", "path"), SIGNED)
@pytest.mark.parametrize("id", ["unknown", "malformed"])
def test_an_unknown_or_malformed_id_is_never_more_than_a_problem(
    device: Member, method: str, path: str, id: str
) -> None:
    bad = dict.fromkeys(NAMES, "..%2f") if id == "malformed" else {}
    answer = device.signed(method, filled(path, **bad), b"{}" if method != "GET" else None)
    if answer.status_code != 307:
        assert is_problem(answer)["code"] in {
            "not_found", "forbidden", "invalid", "unsupported_format", "unauthenticated",
            "method_not_allowed",
        }  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"a": NaN}', b'{"unknown": 1}', b"\xff\xfe",
     b"[" * 5000, b'{"a":' * 2000],
)  # fmt: skip
def test_a_body_that_is_not_what_the_route_reads_is_a_problem(
    device: Member, method: str, path: str, body: bytes
) -> None:
    names = {"client_id": device.id}
    answer = ask(device, method, filled(path, **names), body)
    assert is_problem(answer)["code"] in {"invalid", "not_found", "forbidden"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cpu_cores", 0), ("cpu_cores", "1"), ("cpu_cores", 1.5), ("cpu_cores", True),
        ("memory_bytes", -1), ("storage_bytes", 1 << 60), ("latency_p95_ms", 0),
        ("latency_p95_ms", -3.0), ("latency_p95_ms", float("nan")),
        ("latency_p95_ms", float("inf")), ("max_accuracy_drop", 1.0),
        ("max_accuracy_drop", -0.01), ("max_accuracy_drop", None), ("extra", 1),
    ],
)  # fmt: skip
def test_a_wrong_limit_names_its_field(device: Member, field: str, value: object) -> None:
    body = json.dumps({**SPEC.model_dump(mode="json"), field: value}).encode()
    answer = device.signed("POST", f"/clients/{device.id}/edge_model_profile", body)
    assert field in is_problem(answer, 422)["detail"]


@pytest.mark.parametrize("field", [name for name in SPEC.model_dump() if "training" not in name
                                   and "energy" not in name])  # fmt: skip
def test_a_missing_limit_names_its_field(device: Member, field: str) -> None:
    body = {name: value for name, value in SPEC.model_dump(mode="json").items() if name != field}
    answer = device.signed(
        "POST", f"/clients/{device.id}/edge_model_profile", json.dumps(body).encode()
    )
    assert f"{field}: field required" in is_problem(answer, 422)["detail"]


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
def test_an_oversized_body_is_413_on_every_route(device: Member, method: str, path: str) -> None:
    body = b'"' + b"a" * (300 << 10) + b'"'
    assert is_problem(ask(device, method, filled(path), body), 413)["code"] == "too_large"


def test_an_oversized_header_is_refused(house: House) -> None:
    answer = house.plain("GET", "/healthz", headers={"x-padding": "a" * (17 << 10)})
    is_problem(answer, 413)


def test_a_body_of_another_type_is_415(device: Member) -> None:
    path = f"/clients/{device.id}/edge_model_profile"
    answer = device.signed("POST", path, b"cpu: 1", content_type="application/yaml")
    assert is_problem(answer, 415)["code"] == "unsupported_format"


def test_an_unknown_route_and_a_wrong_method_are_problems(device: Member) -> None:
    assert is_problem(device.signed("GET", "/nothing/here"), 404)["code"] == "not_found"
    assert is_problem(device.signed("DELETE", "/distillation_jobs"), 405)


def test_a_wrong_query_names_the_parameter(device: Member) -> None:
    answer = device.signed("GET", f"/clients/{device.id}/work?wait=-1")
    assert "wait" in is_problem(answer, 422)["detail"]
    is_problem(device.signed("GET", f"/clients/{device.id}/work?wait=nan"), 422)


def test_a_signature_with_a_doubled_header_is_refused(device: Member) -> None:
    signed = device.http._request(
        "http://127.0.0.1:8700", "GET", f"/distillation_jobs/{JOB}/status", "", {}, None,
        "nonce-nonce-nonce-nonce",
    )  # fmt: skip
    doubled = [*signed.headers.raw, (b"signature", b"stillhouse=:AAAA:")]
    answer = device.house.plain("GET", f"/distillation_jobs/{JOB}/status", headers=doubled)
    is_problem(answer, 401)
