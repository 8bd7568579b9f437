"""Identities: both key halves are proved at enrolment, and key files are private or refused."""

from pathlib import Path

import pytest

from stillhouse.entities import Role
from stillhouse.errors import Unauthenticated, VerificationFailed
from stillhouse.wire.identity import (
    Identity,
    open_challenge,
    seal_challenge,
    sign_enrolment,
    verify_enrolment,
)

ME, OTHER = Identity.derive(b"me"), Identity.derive(b"other")


def test_the_same_seed_gives_the_same_identity_and_no_seed_a_new_one() -> None:
    assert Identity.derive(b"me").public == ME.public != OTHER.public
    assert Identity.generate().public != Identity.generate().public


def test_the_id_is_made_from_the_signing_key_and_the_role() -> None:
    assert ME.id(Role.CLIENT).startswith("cli-")
    assert ME.id(Role.CLIENT)[4:] == ME.id(Role.OWNER)[4:]


def test_enrolment_signs_role_and_both_keys() -> None:
    signature = sign_enrolment(ME, Role.CLIENT)
    verify_enrolment(ME.public, Role.CLIENT, signature)
    swapped = ME.public.model_copy(update={"receive": OTHER.public.receive})
    for keys, role, token in (
        (swapped, Role.CLIENT, b""),
        (OTHER.public, Role.CLIENT, b""),
        (ME.public, Role.OWNER, b""),
        (ME.public, Role.CLIENT, b"another token"),
    ):
        with pytest.raises(Unauthenticated):
            verify_enrolment(keys, role, signature, token)


def test_only_the_receive_key_opens_the_challenge_of_its_enrolment() -> None:
    sealed = seal_challenge(b"challenge", ME.public.receive, "enr-1")
    assert open_challenge(ME, sealed, "enr-1") == b"challenge"
    with pytest.raises(VerificationFailed):
        open_challenge(OTHER, sealed, "enr-1")
    with pytest.raises(VerificationFailed):
        open_challenge(ME, sealed, "enr-2")


def test_a_key_file_is_private_and_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "me"
    ME.save(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert Identity.load(file).public == ME.public
    file.chmod(0o644)
    with pytest.raises(VerificationFailed, match="0600"):
        Identity.load(file)
