"""The digest of code: the same for the same files, another one for any change."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cluster.sources import code_digest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    root = tmp_path / "wheels"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "inner" / "spoke.py").write_text("LENGTH = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("wheels")
    del sys.modules["wheels"]


def test_the_same_files_have_the_same_digest(package: ModuleType) -> None:
    assert code_digest(package) == code_digest(package)


def test_a_changed_a_new_and_a_renamed_file_each_change_it(package: ModuleType) -> None:
    inner = Path(package.__path__[0]) / "inner"
    seen = {code_digest(package)}
    (inner / "spoke.py").write_text("LENGTH = 2\n")
    seen.add(code_digest(package))
    (inner / "hub.py").write_text("")
    seen.add(code_digest(package))
    (inner / "hub.py").rename(inner / "rim.py")
    seen.add(code_digest(package))
    assert len(seen) == 4


def test_what_is_no_code_does_not_count(package: ModuleType) -> None:
    before = code_digest(package)
    (Path(package.__path__[0]) / "notes.txt").write_text("nothing")
    assert code_digest(package) == before


def test_two_packages_are_not_one(package: ModuleType) -> None:
    assert code_digest(package, package) != code_digest(package)
