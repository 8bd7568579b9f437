"""Signed requests: RFC 9421 in one fixed profile, Ed25519, the same for clients, owners, operators.

Covered: @method @authority @path @query; content-type and content-digest with a body; if-match and
idempotency-key when present. `created`, `expires` at most 60 s later, `nonce`, `keyid`
(principal/number), tag `stillhouse`. The nonce names the command: a repeat is signed again with it.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stillhouse.errors import Invalid, Unauthenticated
from stillhouse.wire.identity import Identity
from stillhouse.wire.identity import verify as verify_signature

ALWAYS = ("@method", "@authority", "@path", "@query")
WITH_BODY = ("content-type", "content-digest")
WHEN_PRESENT = ("if-match", "idempotency-key")
LIFETIME_S = 60
WINDOW_S = 90  # how far our clocks may differ
MAX_HEADER = 2048
INPUT = re.compile(
    r'stillhouse=(?P<parameters>\((?P<covered>"[a-z@-]+"(?: "[a-z@-]+")*)\)'
    r";created=(?P<created>\d{1,12});expires=(?P<expires>\d{1,12})"
    r';nonce="(?P<nonce>[A-Za-z0-9_-]{16,64})"'
    r';keyid="(?P<keyid>[a-z]{3}-[0-9a-f]{8}-[0-9a-f]{16}/\d{1,6})"'
    r';alg="ed25519";tag="stillhouse")'
)
# 64 bytes in base64: the last digit has four bits that must be 0, or a signature had 16 spellings
SIGNATURE = re.compile(r"stillhouse=:([A-Za-z0-9+/]{85}[AQgw]==):")


@dataclass(frozen=True, slots=True)
class SignatureInput:
    """A signature as it came, parsed and not yet verified."""

    parameters: str  # as signed, byte for byte
    covered: tuple[str, ...]
    created: int
    expires: int
    nonce: str
    key_id: str
    signature: bytes


def sign(
    identity: Identity,
    key_id: str,
    *,
    method: str,
    authority: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes | None,
    nonce: str,
    created: int,
    lifetime_s: int = LIFETIME_S,
) -> dict[str, str]:
    """The headers to add. `headers` has lower-case names; `query` comes without its '?'."""
    added = {} if body is None else {"content-digest": content_digest(body)}
    every = {**headers, **added}
    covered = covered_by(every, has_body=body is not None)
    names = " ".join(f'"{name}"' for name in covered)
    parameters = (
        f"({names});created={created};expires={created + lifetime_s}"
        f';nonce="{nonce}";keyid="{key_id}";alg="ed25519";tag="stillhouse"'
    )
    base = signature_base(covered, parameters, method, authority, path, query, every)
    signature = base64.b64encode(identity.sign(base)).decode()
    return {
        **added,
        "signature-input": f"stillhouse={parameters}",
        "signature": f"stillhouse=:{signature}:",
    }


def parse(headers: Mapping[str, str]) -> SignatureInput:
    """The signature in the headers; Unauthenticated if it is not exactly of this profile."""
    found_input = headers.get("signature-input", "")
    found = INPUT.fullmatch(found_input) if len(found_input) <= MAX_HEADER else None
    signature = SIGNATURE.fullmatch(headers.get("signature", ""))
    if found is None or signature is None:
        raise Unauthenticated("the request carries no signature of this profile (RFC 9421)")
    return SignatureInput(
        parameters=found["parameters"],
        covered=tuple(name.strip('"') for name in found["covered"].split(" ")),
        created=int(found["created"]),
        expires=int(found["expires"]),
        nonce=found["nonce"],
        key_id=found["keyid"],
        signature=base64.b64decode(signature[1]),
    )


def verify(
    parsed: SignatureInput,
    *,
    method: str,
    authority: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    public_key: str,
    now: float,
    authorities: tuple[str, ...],
    window_s: float = WINDOW_S,
) -> None:
    """Unauthenticated unless the key signed exactly this request, for us, now."""
    if authority not in authorities:
        raise Unauthenticated(f"this server is not {authority!r}")
    if not 0 <= parsed.expires - parsed.created <= LIFETIME_S:
        raise Unauthenticated(f"a signature lives at most {LIFETIME_S} s")
    if not parsed.created - window_s <= now <= parsed.expires + window_s:
        raise Unauthenticated(f"signed for another time; the server's clock says {now:.0f}")
    if parsed.covered != covered_by(headers, has_body="content-digest" in headers):
        raise Unauthenticated("the signature must cover what the profile names, in its order")
    base = signature_base(
        parsed.covered, parsed.parameters, method, authority, path, query, headers
    )
    verify_signature(public_key, parsed.signature, base)
    if headers.get("idempotency-key", parsed.nonce) != parsed.nonce:
        raise Invalid("a signed Idempotency-Key must equal the signature's nonce")


def check_body(headers: Mapping[str, str], body: bytes) -> None:
    """Unauthenticated unless the body is the one that was signed, or there is none."""
    claimed = headers.get("content-digest")
    if claimed is None and not body:
        return
    if claimed != content_digest(body):
        raise Unauthenticated("the body is not the one that was signed (Content-Digest)")


def content_digest(body: bytes) -> str:
    """RFC 9530."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def covered_by(headers: Mapping[str, str], *, has_body: bool) -> tuple[str, ...]:
    present = tuple(name for name in WHEN_PRESENT if name in headers)
    return ALWAYS + (WITH_BODY if has_body else ()) + present


def signature_base(
    covered: tuple[str, ...],
    parameters: str,
    method: str,
    authority: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
) -> bytes:
    """RFC 9421, 2.5; Unauthenticated if a covered header is missing."""
    derived = {"@method": method, "@authority": authority, "@path": path, "@query": f"?{query}"}
    try:
        lines = [f'"{name}": {derived.get(name) or headers[name]}' for name in covered]
    except KeyError as missing:
        raise Unauthenticated(f"the signed header {missing} is missing") from None
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode()
