"""Whatever a signed request says, the answer is no 5xx: schemathesis over the OpenAPI document.

Ids are partly generated and partly those of rows that exist, so that requests get past "no such
id". `FUZZ_EXAMPLES=500` in the environment is the long run, for a release.
"""

import os
from dataclasses import dataclass
from typing import Any

import anyio.from_thread
import pytest
import requests
import schemathesis
from api_house import URL, Member
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import CENTRAL, DOCUMENT, NAMES, OPERATIONS, valid
from test_work import Walk, Works

from stillhouse.entities import Role
from stillhouse.wire.messages import UploadRequest

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))  # for each operation
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
KINDS = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
HEADERS = ("if-match", "if-none-match", "idempotency-key", "last-event-id", "content-type")


@dataclass(frozen=True)
class Ground:
    """What exists while the requests come: who asks, and the ids of rows, by path parameter."""

    members: tuple[Member, ...]
    ids: dict[str, tuple[str, ...]]


@pytest.fixture  # for each operation anew: one of them revokes the key of who asks
def ground(portal: anyio.from_thread.BlockingPortal) -> Ground:
    """A job whose device fetches, one that waits for its model, one that is over; an upload."""
    house = Works(portal)
    client, owner, operator = (
        house.member(f"fuzzed {role}", role) for role in (Role.CLIENT, Role.OWNER, Role.OPERATOR)
    )
    walk = Walk(client)
    walk.probe()
    waiting = client.submit(client.id, "missing", walk.profile.id).id
    over = client.submit(client.id, "missing", walk.profile.id).id
    assert client.signed("POST", f"/distillation_jobs/{over}/cancel").status_code < 300
    upload = UploadRequest(spec=CENTRAL).model_dump_json().encode()
    assert owner.signed("POST", "/central_models/wrist/versions", upload).status_code < 300
    ids = {
        "client_id": (client.id,),
        "letter_id": (NAMES["letter_id"],),  # its effects never fail
        "profile_id": (walk.profile.id,),
        "job_id": (walk.job, waiting, over),
        "delivery_id": (walk.delivery.id,),
        "name": ("wrist", "waves"),
        "version": ("1",),
        "alias": ("production", "latest"),
        "file": ("weights", "training"),
        "index": ("0", "1"),
        "number": ("2",),
    }
    return Ground((client, owner, operator), ids)


def generated(operation: str) -> st.SearchStrategy[schemathesis.Case]:
    """Requests as the document allows them, and such as it does not."""
    method, _, path = operation.partition(" ")
    found = SCHEMA[path][method]
    return st.one_of(*(found.as_strategy(generation_mode=kind) for kind in KINDS))


def aimed(case: schemathesis.Case, ids: dict[str, tuple[str, ...]], draw: Any) -> None:
    """Put ids of rows that exist into path, query and body, where the case has others."""
    body = case.body if isinstance(case.body, dict) else {}
    for place in (case.path_parameters, case.query, body):
        for name in set(place) & set(ids):
            place[name] = draw(st.sampled_from((place[name], *ids[name])))


def send(member: Member, case: schemathesis.Case) -> Any:
    """Sign the case and send it."""
    options = case.as_transport_kwargs(base_url=URL)
    options["headers"] = {
        name: value for name, value in options["headers"].items() if name.lower() in HEADERS
    }
    prepared = requests.Request(**options).prepare()
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    headers = {
        name.lower(): value for name, value in prepared.headers.items() if name.lower() in HEADERS
    }
    return member.signed(case.method, prepared.path_url, body, **headers)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_no_request_is_answered_by_a_bug(ground: Ground, operation: str) -> None:
    ids = dict(ground.ids)
    if operation.endswith("/events"):  # of a job that goes on, a stream has no end
        ids["job_id"] = ids["job_id"][-1:]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(generated(operation), st.data())
    def fuzz(case: schemathesis.Case, data: st.DataObject) -> None:
        aimed(case, ids, data.draw)
        for member in ground.members:
            answer = send(member, case)
            assert answer.status_code < 500, answer.text

    fuzz()


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_a_sound_request_about_rows_that_exist_is_no_bug_either(
    ground: Ground, operation: str
) -> None:
    method, _, path = operation.partition(" ")
    names = {name: each[-1] for name, each in ground.ids.items()}
    where = path.format(**{"enrolment_id": "enr-00000000-0000000000000000", **names})
    for member in ground.members:
        answer = member.signed(method, where, valid(operation))
        assert answer.status_code < 500, answer.text
