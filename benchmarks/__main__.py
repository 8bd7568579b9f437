"""`python3 run.py bench NAME --json FILE [--long]`: run one benchmark, write what it measured."""

import argparse
import importlib
from pathlib import Path

from benchmarks.report import Report, environment

BENCHMARKS = {
    "bytes": "benchmarks.knowledge.bytes",
    "control": "benchmarks.control.everything",
    "family": "benchmarks.knowledge.family",
    "loop": "benchmarks.knowledge.loop",
    "planner": "benchmarks.knowledge.planner",
    "faults": "benchmarks.faults",
    "journal": "benchmarks.journal",
    "general_queue": "benchmarks.general_queue",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--long", action="store_true", help="more repetitions")
    given = parser.parse_args()
    measured = importlib.import_module(BENCHMARKS[given.name]).measure(given.long)
    report = Report(
        bench=given.name,
        environment=environment(),
        metrics=measured.metrics,
        rows=measured.rows,
    )
    given.json.write_text(report.model_dump_json(indent=2) + "\n")
    if measured.draw is not None:
        measured.draw(picture := given.json.with_suffix(".svg"))
        print(f"drawn: {picture}")
    for name, value in report.metrics.items():
        print(f"{name:40} {value:12,.5g}")


if __name__ == "__main__":
    main()
