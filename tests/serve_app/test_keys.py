"""Keys: new ones are vouched for by the old, revoked ones are refused, numbers never come back."""

import json

from api_house import House, Member

from stillhouse.entities import Role
from stillhouse.wire.identity import Identity, sign_enrolment

NEW = Identity.derive(b"the new keys")


def body(identity: Identity = NEW, signer: Identity = NEW) -> bytes:
    keys = {"sign_key": identity.public.sign, "receive_key": identity.public.receive}
    signature = (
        signer.sign(b"").hex() if signer is not identity else sign_enrolment(identity, Role.CLIENT)
    )
    return json.dumps({**keys, "signature": signature}).encode()


def rotated(device: Member) -> str:
    answer = device.signed("POST", f"/clients/{device.id}/keys", body())
    assert answer.status_code == 201
    return str(answer.json()["key_id"])


def test_new_keys_sign_from_now_on_under_the_same_id(house: House) -> None:
    device = house.member("device")
    key_id = rotated(device)
    assert key_id == f"{device.id}/2"
    device.http._identity, device.http.key_id = NEW, key_id
    assert device.signed("GET", f"/clients/{device.id}/work").status_code == 200
    assert device.signed("DELETE", f"/clients/{device.id}/keys/1").status_code == 204


def test_revoked_keys_are_refused_and_their_number_is_never_given_again(house: House) -> None:
    device = house.member("device")
    old = (device.http._identity, device.http.key_id)
    rotated(device)
    assert device.signed("DELETE", f"/clients/{device.id}/keys/2").status_code == 204
    assert rotated(device) == f"{device.id}/3"
    device.http._identity, device.http.key_id = NEW, f"{device.id}/3"
    assert device.signed("DELETE", f"/clients/{device.id}/keys/1").status_code == 204
    device.http._identity, device.http.key_id = old
    answer = device.signed("GET", f"/clients/{device.id}/work")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_the_only_keys_stay(house: House) -> None:
    device = house.member("device")
    answer = device.signed("DELETE", f"/clients/{device.id}/keys/1")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert device.signed("DELETE", f"/clients/{device.id}/keys/7").status_code == 404


def test_keys_that_their_holder_did_not_sign_are_refused(house: House) -> None:
    device = house.member("device")
    wrong = body(signer=Identity.derive(b"somebody else"))
    assert device.signed("POST", f"/clients/{device.id}/keys", wrong).status_code == 401


def test_another_client_neither_adds_nor_revokes(house: House) -> None:
    device, stranger = house.member("device"), house.member("stranger")
    assert stranger.signed("POST", f"/clients/{device.id}/keys", body()).status_code == 404
    assert stranger.signed("DELETE", f"/clients/{device.id}/keys/1").status_code == 404
