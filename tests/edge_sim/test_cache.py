"""The cache: a second run finds what the first made, and nothing that depends on something else."""

from pathlib import Path

import pytest

from edge_sim.cache import Cache

KEY, OTHER = "a" * 64, "b" * 64


def never() -> bytes:
    pytest.fail("it was made before")


def test_what_was_made_is_kept_and_named_when_it_is_found(tmp_path: Path) -> None:
    first, second = Cache(tmp_path), Cache(tmp_path)
    assert first.keep("weights", KEY, lambda: b"made") == b"made"
    assert second.keep("weights", KEY, never) == b"made"
    assert (first.reused, second.reused) == ([], ["weights"])


def test_another_key_is_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep("weights", KEY, lambda: b"old")
    assert cache.keep("weights", OTHER, lambda: b"new") == b"new"
    assert cache.reused == []


def test_what_failed_is_not_kept(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise OSError("no space")

    cache = Cache(tmp_path)
    with pytest.raises(OSError, match="no space"):
        cache.keep("weights", KEY, fail)
    assert cache.keep("weights", KEY, lambda: b"made") == b"made"


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    Cache(tmp_path / "cache").keep("weights", KEY, lambda: b"made")
    assert (tmp_path / "cache" / KEY).stat().st_mode & 0o077 == 0
