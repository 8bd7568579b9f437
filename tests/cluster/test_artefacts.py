"""Artefacts: names that stay inside, files that are whole, uploads that go on where they broke."""

import hashlib
from pathlib import Path

import pytest

from cluster.artefacts import Artefacts
from stillhouse.errors import Conflict, Invalid, NotFound


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    return Artefacts(tmp_path / "artefacts")


def test_what_is_put_is_got_again_whole(artefacts: Artefacts) -> None:
    artefacts.put("families/abc", b"first, and longer")
    artefacts.put("families/abc", b"second")
    assert artefacts.get("families/abc") == b"second"
    assert artefacts.length("families/abc") == 6


def test_an_unknown_name_is_not_found(artefacts: Artefacts) -> None:
    assert not artefacts.has("a")
    assert artefacts.length("a") == 0
    for read in (artefacts.get, artefacts.digest):
        with pytest.raises(NotFound):
            read("a")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".a", "../a", "a/../b", "a/..", "/etc/passwd", "a//b", "a/"),
        *("A", "ä", "a\n", "a\0", "a\\b", "a" * 65, "a/b/c/d/e"),
    ],
    ids=repr,
)
def test_a_name_cannot_leave_the_folder(artefacts: Artefacts, name: str) -> None:
    for read in (artefacts.get, artefacts.has, artefacts.length, artefacts.digest):
        with pytest.raises(Invalid):
            read(name)
    with pytest.raises(Invalid):
        artefacts.put(name, b"x")
    with pytest.raises(Invalid):
        artefacts.append(name, 0, b"x")


def test_an_upload_grows_piece_by_piece_and_refuses_gaps_and_overlaps(artefacts: Artefacts) -> None:
    assert artefacts.append("uploads/a/1/weights", 0, b"one") == 3
    assert artefacts.append("uploads/a/1/weights", 3, memoryview(b" two")) == 7
    for offset in (0, 6, 8):
        with pytest.raises(Conflict, match="has 7 bytes"):
            artefacts.append("uploads/a/1/weights", offset, b"!")
    assert artefacts.get("uploads/a/1/weights") == b"one two"


def test_the_digest_is_sha256_of_the_content(artefacts: Artefacts) -> None:
    data = bytes(range(256)) * 5_000
    artefacts.put("a", data)
    assert artefacts.digest("a") == hashlib.sha256(data).hexdigest()


def test_no_other_user_can_read_anything(artefacts: Artefacts, tmp_path: Path) -> None:
    artefacts.put("families/one", b"x")
    artefacts.append("uploads/a/1/weights", 0, b"x")
    paths = [tmp_path / "artefacts", *(tmp_path / "artefacts").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
