"""Every documented route is in the table of roles, and each role may exactly what it says."""

import pytest
from api_house import House
from samples import DOCUMENT, OPERATIONS, ROLES, UNSIGNED, place, valid

from actors.gate import OPEN
from stillhouse.authorization import ROLES as RULES
from stillhouse.entities import Role
from stillhouse.shard import HANDLERS as SHARD
from stillhouse.vault import HANDLERS as VAULT

PEOPLE = (Role.CLIENT, Role.OWNER, Role.OPERATOR, Role.AUDITOR)


def test_no_route_is_without_a_rule() -> None:
    assert set(OPERATIONS) == set(ROLES) | UNSIGNED


def test_no_command_is_without_a_rule() -> None:
    assert {command.__name__ for command in (*SHARD, *VAULT)} <= set(RULES)


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("operation", sorted(ROLES))
def test_a_role_may_exactly_what_the_table_says(door: House, operation: str, role: Role) -> None:
    method, path = place(operation)
    answer = door.member(f"a {role}", role).signed(method, path, valid(operation))
    forbidden = answer.status_code == 403
    assert forbidden == (role not in ROLES[operation]), answer.text
    if forbidden:
        assert answer.json()["code"] == "forbidden"


def test_what_the_gate_lets_in_unsigned_is_what_the_document_says() -> None:
    for operation, described in OPERATIONS.items():
        path = place(operation)[1]
        unsigned = OPEN.match(path) is not None
        assert unsigned == (operation in UNSIGNED) == (described["security"] == [])


def test_the_document_describes_the_signature_and_every_problem() -> None:
    assert DOCUMENT["components"]["securitySchemes"]["signed"]["name"] == "Signature"
    for operation in OPERATIONS.values():
        content = operation["responses"]["default"]["content"]
        assert set(content) == {"application/problem+json"}
        assert "422" not in operation["responses"]
