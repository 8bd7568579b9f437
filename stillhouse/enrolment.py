"""Enrolment: keys are posted, a challenge that only they can open comes back, they are in force.

The same keys again get the same answer, before and after the confirmation. Shard and vault share
these rules: clients live in a shard, owners and operators in the vault.
"""

import hmac
from dataclasses import replace

from stillhouse.authorization import owned
from stillhouse.commands import AddKeys, ConfirmEnrolment, Enrol, RevokeKeys
from stillhouse.decisions import Answer, accepted
from stillhouse.draft import Draft
from stillhouse.entities import Entity, Principal, Role
from stillhouse.errors import Conflict, Forbidden, NotFound, Unauthenticated
from stillhouse.events import Enrolled, EnrolmentOpened, KeysAdded, KeysRevoked
from stillhouse.ids import principal_id
from stillhouse.rows import EnrolmentRow, PrincipalRow, find, get

MOST_KEYS = 8  # in force at once


class EnrolmentOffer(Entity):
    """The answer to posted keys: prove that the receive key is yours."""

    enrolment_id: str
    principal_id: str
    sealed_challenge: str  # HPKE to the receive key, hexadecimal


class Membership(Entity):
    """The answer to the right challenge: the keys are in force under this id."""

    principal_id: str
    role: Role
    key_id: str


class KeysInForce(Entity):
    """The answer to new keys: the keyid to sign with from now on."""

    key_id: str


def add_keys(draft: Draft, who: Principal, command: AddKeys) -> Answer:
    """New keys beside the old ones, which vouch for them by signing the request."""
    owned(who, command.client_id, command.client_id)
    owner = get(draft.rows, command.client_id, PrincipalRow)
    if len(owner.keys) >= MOST_KEYS:
        raise Conflict(f"{MOST_KEYS} key pairs are in force: revoke one first")
    keys = replace(command.keys, number=owner.keys_given + 1)
    draft.emit(KeysAdded(owner.id, keys))
    return accepted(KeysInForce(key_id=f"{owner.id}/{keys.number}"), 201)


def revoke_keys(draft: Draft, who: Principal, command: RevokeKeys) -> Answer:
    """Refused everywhere within seconds; the last pair stays, or nobody could ever come back."""
    owned(who, command.client_id, command.client_id)
    owner = get(draft.rows, command.client_id, PrincipalRow)
    if command.number not in {pair.number for pair in owner.keys}:
        raise NotFound(f"no keys {command.number} of {owner.id} are in force")
    if len(owner.keys) == 1 and who.role is Role.CLIENT:
        raise Conflict("these are the only keys: add new ones first")
    draft.emit(KeysRevoked(owner.id, command.number))
    return Answer(204)


def open_enrolment(draft: Draft, _: Principal, command: Enrol) -> Answer:
    if command.role is Role.SYSTEM:
        raise Forbidden("nobody enrols as the cluster")
    id = principal_id(command.role, bytes.fromhex(command.keys.sign))
    row = EnrolmentRow(
        command.enrolment_id, id, command.role, command.keys, command.holdings, command.challenge
    )
    find(draft.rows, command.enrolment_id, EnrolmentRow)
    draft.emit(EnrolmentOpened(id, row))
    offer = EnrolmentOffer(
        enrolment_id=row.id, principal_id=id, sealed_challenge=command.sealed_challenge
    )
    return Answer(201, offer.model_dump(mode="json"))


def confirm(draft: Draft, _: Principal, command: ConfirmEnrolment) -> Answer:
    enrolment = get(draft.rows, command.enrolment_id, EnrolmentRow)
    if not hmac.compare_digest(command.challenge.encode(), enrolment.challenge.encode()):
        raise Unauthenticated("that is not the challenge that was sealed to the receive key")
    id = enrolment.principal_id
    if find(draft.rows, id, PrincipalRow) is None:
        principal = PrincipalRow(
            id, enrolment.role, (enrolment.keys,), draft.now, holdings=enrolment.holdings
        )
        draft.emit(Enrolled(id, enrolment.id, principal))
    key_id = f"{id}/{enrolment.keys.number}"
    member = Membership(principal_id=id, role=enrolment.role, key_id=key_id)
    return Answer(201, member.model_dump(mode="json"))
