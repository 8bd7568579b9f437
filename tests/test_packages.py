"""The generic folder names are ours, and each process imports no more than it needs."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stillhouse", "cluster", "actors", "serve_app", "edge_sim", "configs", "benchmarks")


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_package_shadows_ours(name: str) -> None:
    found = importlib.import_module(name)
    assert found.__file__ is not None
    assert Path(found.__file__).parent == ROOT / name


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("actors.job_manager", "torch"),
        ("serve_app.deployment", "torch"),
        ("actors.packing", "torch"),
        ("stillhouse.sdk", "torch"),
        ("stillhouse.shard", "numpy"),
        ("stillhouse.edge.agent", "ray"),
    ],
)
def test_a_process_imports_no_more_than_it_needs(module: str, absent: str) -> None:
    code = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
