"""The README's Python is run as it stands, against a real deployment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_house import House

pytestmark = pytest.mark.slow
README = Path(__file__).parents[2] / "README.md"
MOST_LINES = 20


def quick_start() -> str:
    section = README.read_text().partition("\n## Use it from Python\n")[2].partition("\n## ")[0]
    [block] = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return block


def run(url: str, folder: Path) -> list[str]:
    """The lines that it prints."""
    done = subprocess.run(
        (sys.executable, "-c", quick_start()),
        env={**os.environ, "STILLHOUSE_URL": url},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_quick_start_follows_a_job_to_its_end_as_often_as_one_likes(
    house: House, tmp_path: Path
) -> None:
    for _ in range(2):  # the second time with the key of the first
        first, *_, last = run(house.url, tmp_path)
        assert first.endswith(" asks for wrist")
        assert last == "CANCELLED"
    assert (tmp_path / "device.key").stat().st_mode & 0o777 == 0o600


def test_the_quick_start_is_short() -> None:
    assert len(quick_start().splitlines()) <= MOST_LINES
