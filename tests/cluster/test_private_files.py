"""Private files: whole or not at all, and closed to others."""

from pathlib import Path

import pytest

from cluster.private_files import check_private, make_folder, write_file
from stillhouse.errors import Forbidden


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_file(tmp_path / "file", "text")  # type: ignore[arg-type]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_folder_that_is_made_on_the_way_is_private(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_can_read_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(Forbidden):
        check_private(path)
    write_file(path, b"token")
    check_private(path)
    for mode in (0o640, 0o604, 0o602):
        path.chmod(mode)
        with pytest.raises(Forbidden):
            check_private(path)
