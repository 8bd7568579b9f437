"""A cluster is joined or started only where nobody else can come in."""

from pathlib import Path

import pytest
import ray

from cluster.connect import ClusterSettings, connect, make_token
from cluster.private_files import write_file
from stillhouse.errors import Forbidden

REMOTE = ClusterSettings(address="192.0.2.1:6379")  # an address for documentation: nobody is there


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a token that does not exist yet; token mode is on."""
    path = tmp_path / "ray" / "token"
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


def test_a_cluster_on_the_network_is_not_joined_without_token_mode(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(token, b"token")
    for mode in ("disabled", ""):
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        with pytest.raises(Forbidden, match="RAY_AUTH_MODE=token"):
            connect(REMOTE)


def test_nor_with_a_token_that_is_missing_or_that_others_can_read(token: Path) -> None:
    with pytest.raises(Forbidden, match="missing"):
        connect(REMOTE)
    write_file(token, b"token")
    token.chmod(0o644)
    with pytest.raises(Forbidden, match="closed to all others"):
        connect(REMOTE)


def test_an_address_from_the_environment_is_checked_too(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    with pytest.raises(Forbidden):
        connect(ClusterSettings())


def test_a_local_clusters_token_is_made_once_and_is_private(token: Path) -> None:
    make_token()
    first = token.read_bytes()
    token.chmod(0o644)  # as Ray would have written it
    make_token()
    assert token.read_bytes() == first
    assert len(first) == 64
    assert token.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_worker_of_the_local_cluster_runs_in_token_mode_with_normal_priority(
    ray_cluster: None,
) -> None:
    @ray.remote
    def environment() -> tuple[str | None, int]:
        import os

        return os.environ.get("RAY_AUTH_MODE"), os.nice(0)

    assert ray.get(environment.remote(), timeout=60) == ("token", 0)
