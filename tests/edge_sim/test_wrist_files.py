"""The demo's data as files: what the command and a device take, they take."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge_sim.wrist import data
from stillhouse.cli import models
from stillhouse.compress.arch import build, load_weights
from stillhouse.compress.recordings import Recordings
from stillhouse.compress.windows import PublicWindows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wrist") / "files"
    command = (sys.executable, "-m", "edge_sim.wrist", str(target), "--seed", "3", "--epochs", "1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert f"written: {target}" in done.stdout
    return target


def test_the_command_accepts_the_owners_folder(folder: Path) -> None:
    spec, files = models.read(folder / "owner")
    assert spec.labels == data.read().labels
    assert set(files) == set(models.FILES)
    load_weights(build(spec.architecture), files["weights"])
    for name in ("training", "transfer", "evaluation"):
        assert len(Recordings.from_parquet(files[name]))


def test_the_public_windows_fit_the_model(folder: Path) -> None:
    spec, _ = models.read(folder / "owner")
    windows = PublicWindows.from_bytes((folder / "windows.bin").read_bytes())
    assert spec.preprocessing.window in windows.values().shape
    assert len(windows)


def test_each_person_has_three_parts_of_their_own(folder: Path) -> None:
    for place, person in enumerate(data.people(3).clients):
        for part in ("train", "validation", "test"):
            content = (folder / f"person-{place}" / f"{part}.parquet").read_bytes()
            assert set(Recordings.from_parquet(content).sources) == {person}
