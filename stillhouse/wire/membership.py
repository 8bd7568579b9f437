"""Joining: enrol this identity, prove both keys, pin the cluster's own."""

from collections.abc import Generator

from stillhouse.entities import Entity, Role
from stillhouse.errors import VerificationFailed
from stillhouse.wire.client import AsyncSignedClient, SignedClient
from stillhouse.wire.identity import Identity, open_challenge, sign_enrolment
from stillhouse.wire.messages import Confirmation, EnrolmentRequest, TrustAnchors

JSON = {"content-type": "application/json"}


class Offer(Entity):
    """The server's answer to posted keys."""

    enrolment_id: str
    principal_id: str
    sealed_challenge: str


class Joined(Entity):
    """The keys are in force under this id."""

    principal_id: str
    role: Role
    key_id: str


def enrol(
    client: SignedClient, identity: Identity, role: Role, holdings: tuple[str, ...] = ()
) -> Joined:
    """Enrol and let `client` sign from now on; the same identity again joins again."""
    steps, answer = enrolment(identity, role, holdings), b""
    try:
        while True:
            path, body = steps.send(answer or None)
            answer = client.send("POST", path, body, JSON).content
    except StopIteration as end:
        joined: Joined = end.value
    client.key_id = joined.key_id
    return joined


async def enrol_async(client: AsyncSignedClient, identity: Identity, role: Role) -> Joined:
    """The same over an asynchronous client."""
    steps, answer = enrolment(identity, role, ()), b""
    try:
        while True:
            path, body = steps.send(answer or None)
            answer = (await client.send("POST", path, body, JSON)).content
    except StopIteration as end:
        joined: Joined = end.value
    client.key_id = joined.key_id
    return joined


def enrolment(
    identity: Identity, role: Role, holdings: tuple[str, ...]
) -> Generator[tuple[str, bytes], bytes | None, Joined]:
    """Yields (path, body) to post, for the answer's content; at the end, who one is now."""
    request = EnrolmentRequest(
        role=role,
        sign_key=identity.public.sign,
        receive_key=identity.public.receive,
        holdings=holdings,
        signature=sign_enrolment(identity, role),
    )
    answer = yield "/enrolments", request.model_dump_json().encode()
    offer = Offer.model_validate_json(answer or b"")
    if offer.principal_id != identity.id(role):
        raise VerificationFailed("the server answered for another identity")
    challenge = open_challenge(identity, bytes.fromhex(offer.sealed_challenge), offer.enrolment_id)
    confirmation = Confirmation(challenge=challenge.hex()).model_dump_json().encode()
    answer = yield f"/enrolments/{offer.enrolment_id}/confirmation", confirmation
    return Joined.model_validate_json(answer or b"")


def trust_anchors(client: SignedClient) -> TrustAnchors:
    """The cluster's public keys, to be pinned; on loopback alone are they trusted on first use."""
    return client.read(TrustAnchors, "/trust_anchors")
