"""Joining: enrol this identity, prove both keys, pin the cluster's own."""

from stillhouse.entities import Entity, Role
from stillhouse.errors import VerificationFailed
from stillhouse.wire.client import SignedClient
from stillhouse.wire.identity import Identity, open_challenge, sign_enrolment
from stillhouse.wire.messages import Confirmation, EnrolmentRequest, TrustAnchors


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
    request = EnrolmentRequest(
        role=role,
        sign_key=identity.public.sign,
        receive_key=identity.public.receive,
        holdings=holdings,
        signature=sign_enrolment(identity, role),
    )
    offer = Offer.model_validate_json(client.command("POST", "/enrolments", request).content)
    if offer.principal_id != identity.id(role):
        raise VerificationFailed("the server answered for another identity")
    challenge = open_challenge(identity, bytes.fromhex(offer.sealed_challenge), offer.enrolment_id)
    path = f"/enrolments/{offer.enrolment_id}/confirmation"
    answer = client.command("POST", path, Confirmation(challenge=challenge.hex()))
    joined = Joined.model_validate_json(answer.content)
    client.key_id = joined.key_id
    return joined


def trust_anchors(client: SignedClient) -> TrustAnchors:
    """The cluster's public keys, to be pinned; on loopback alone are they trusted on first use."""
    return client.read(TrustAnchors, "/trust_anchors")
