"""Signed requests: what is signed is covered, what is changed is refused, a library agrees."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

from stillhouse.entities import Role
from stillhouse.errors import Invalid, Unauthenticated
from stillhouse.wire.identity import Identity
from stillhouse.wire.signatures import LIFETIME_S, WINDOW_S, check_body, parse, sign, verify

IDENTITY = Identity.derive(b"a client")
KEY_ID = f"{IDENTITY.id(Role.CLIENT)}/1"
NOW = 1_800_000_000
NONCE = "n0nce-n0nce-n0nce-n0nce"
US = "127.0.0.1:8700"


def request(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "method": "POST",
        "authority": US,
        "path": "/distillation_jobs",
        "query": "a=1&b=2",
        "headers": {"content-type": "application/json", "idempotency-key": NONCE},
    }
    return {**plain, **changes}


def signed(body: bytes | None = b"{}", **changes: Any) -> dict[str, Any]:
    it = request(**changes)
    added = sign(IDENTITY, KEY_ID, **it, body=body, nonce=NONCE, created=NOW)
    return {**it, "headers": {**it["headers"], **added}}


def check(it: dict[str, Any], *, now: float = NOW, identity: Identity = IDENTITY) -> None:
    parsed = parse(it["headers"])
    verify(parsed, **it, public_key=identity.public.sign, now=now, authorities=(US,))


def test_a_signed_request_verifies_and_names_its_key_and_nonce() -> None:
    it = signed()
    check(it)
    parsed = parse(it["headers"])
    assert (parsed.key_id, parsed.nonce) == (KEY_ID, NONCE)
    assert parsed.expires - parsed.created == LIFETIME_S


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/distillation_jobs/x"},
        {"query": "a=1"},
        {"query": ""},
    ],
)
def test_a_change_of_what_is_asked_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated, match="does not verify"):
        check({**signed(), **change})


@pytest.mark.parametrize("name", ["content-type", "content-digest", "idempotency-key"])
def test_a_change_or_loss_of_a_covered_header_is_refused(name: str) -> None:
    it = signed()
    with pytest.raises((Unauthenticated, Invalid)):
        check({**it, "headers": {**it["headers"], name: "sha-256=:AAAA:"}})
    lost = {key: value for key, value in it["headers"].items() if key != name}
    with pytest.raises(Unauthenticated):
        check({**it, "headers": lost})


def test_a_header_slipped_in_beside_the_signature_is_refused() -> None:
    it = signed()
    with pytest.raises(Unauthenticated, match="must cover"):
        check({**it, "headers": {**it["headers"], "if-match": '"1"'}})


def test_another_key_or_another_server_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        check(signed(), identity=Identity.derive(b"another"))
    with pytest.raises(Unauthenticated, match="this server is not"):
        check(signed(authority="evil:80"))


def test_the_signature_lives_for_its_window_and_no_longer() -> None:
    check(signed(), now=NOW + LIFETIME_S + WINDOW_S)
    for now in (NOW - WINDOW_S - 1, NOW + LIFETIME_S + WINDOW_S + 1):
        with pytest.raises(Unauthenticated, match="clock"):
            check(signed(), now=now)


def test_a_signature_that_lives_longer_is_refused() -> None:
    it = request()
    added = sign(
        IDENTITY, KEY_ID, **it, body=b"{}", nonce=NONCE, created=NOW, lifetime_s=LIFETIME_S + 1
    )
    with pytest.raises(Unauthenticated, match="at most"):
        check({**it, "headers": {**it["headers"], **added}})


def test_a_signed_idempotency_key_must_be_the_nonce() -> None:
    headers = {"content-type": "application/json", "idempotency-key": "another-key-another-key"}
    with pytest.raises(Invalid, match="nonce"):
        check(signed(headers=headers))


def test_the_body_is_the_one_that_was_signed() -> None:
    headers = signed(b'{"a": 1}')["headers"]
    check_body(headers, b'{"a": 1}')
    for other in (b'{"a": 2}', b"", b'{"a": 1} '):
        with pytest.raises(Unauthenticated, match="body"):
            check_body(headers, other)
    check_body(signed(None, headers={})["headers"], b"")
    with pytest.raises(Unauthenticated, match="body"):
        check_body(signed(None, headers={})["headers"], b"smuggled")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stillhouse=", "sig1="),
        ('tag="stillhouse"', 'tag="other"'),
        ('alg="ed25519"', 'alg="hmac-sha256"'),
        ('"@method" ', ""),
        ("created=", "created=-"),
        ('keyid="cli-', 'keyid="../'),
    ],
)
def test_any_other_profile_is_refused(old: str, new: str) -> None:
    it = signed()
    changed = it["headers"]["signature-input"].replace(old, new, 1)
    assert changed != it["headers"]["signature-input"]
    with pytest.raises(Unauthenticated):
        check({**it, "headers": {**it["headers"], "signature-input": changed}})


def test_every_byte_of_the_signature_matters() -> None:
    it = signed()
    raw = bytearray(base64.b64decode(it["headers"]["signature"][12:-1]))
    for place in range(len(raw)):
        raw[place] ^= 1
        value = f"stillhouse=:{base64.b64encode(raw).decode()}:"
        with pytest.raises(Unauthenticated):
            check({**it, "headers": {**it["headers"], "signature": value}})
        raw[place] ^= 1


class Resolver(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        assert key_id == KEY_ID
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(IDENTITY.public.sign))


class Message:
    """A request as the oracle wants it."""

    def __init__(self, it: dict[str, Any]) -> None:
        self.method = it["method"]
        self.url = f"http://{it['authority']}{it['path']}?{it['query']}"
        self.headers = it["headers"]


def test_an_independent_library_verifies_our_signatures() -> None:
    import time

    it = request()
    now = int(time.time())
    added = sign(IDENTITY, KEY_ID, **it, body=b"{}", nonce=NONCE, created=now)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Resolver())
    [result] = verifier.verify(
        Message({**it, "headers": {**it["headers"], **added}}), expect_tag="stillhouse"
    )
    assert result.parameters["keyid"] == KEY_ID
