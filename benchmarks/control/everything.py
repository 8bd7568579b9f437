"""The control core: how many transitions, jobs and clients one machine bears.

`run.py bench control --json FILE` draws the cost of a transition against the number of clients into
FILE's folder, too (`.svg`); `--long` goes to a million clients and repeats more.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.progress import track

from benchmarks.control.chain import SHARDS, measure_chain, times_as_fast
from benchmarks.control.clients import measure_clients
from benchmarks.control.durable import measure_durable
from benchmarks.control.http import measure_http
from benchmarks.control.plot import draw
from benchmarks.control.step import measure_step
from benchmarks.journal import FOLDER
from benchmarks.report import Measured, Value
from cluster.private_files import make_folder

COUNTS = [1_000, 10_000, 100_000, 1_000_000]


def measure(long: bool) -> Measured:
    """Medians of rounds that measure every part in turn."""
    make_folder(FOLDER)
    with TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        rounds = 9 if long else 3
        rows = [*core(folder, rounds), *measure_chain(folder, 400, rounds)]
        rows.append({"part": "http", **measure_http(folder, 2000 if long else 500)})
        rows += measure_clients(folder, COUNTS if long else COUNTS[:-1])
    grown = [row for row in rows if row["part"] == "clients"]
    return Measured(metrics(rows), tuple(rows), partial(draw, grown))


def core(folder: Path, rounds: int) -> Iterator[dict[str, Value]]:
    for round in track(range(rounds), "step, durable transitions, whole jobs"):
        yield {"part": "step", "round": round, **measure_step(1000)}
        for shards, slow in ((1, False), (2, False), (1, True), (2, True)):
            durable = measure_durable(folder, 800, shards=shards, slow=slow)
            yield {"part": "durable", "round": round, **durable}


def metrics(rows: list[dict[str, Value]]) -> dict[str, float]:
    def middle(part: str, name: str, **wanted: Value) -> float:
        found = [row for row in rows if row["part"] == part and wanted.items() <= row.items()]
        return median(float(row[name]) for row in found)

    fast: dict[str, Value] = {"disk": "as it is", "shards": SHARDS}
    slow: dict[str, Value] = {"disk": "5 ms a sync", "shards": SHARDS}
    one: dict[str, Value] = {**fast, "shards": 1}
    return {
        "step_transitions_per_s": middle("step", "step_transitions_per_s"),
        "durable_transitions_per_s": middle("durable", "durable_transitions_per_s", **fast),
        "durable_limit_share": middle("durable", "durable_limit_share", **fast),
        "durable_limit_share_5ms_sync": middle("durable", "durable_limit_share", **slow),
        "fsyncs_per_s": middle("durable", "fsyncs_per_s", **fast),
        "jobs_batched_per_s": middle("durable", "jobs_batched_per_s", **fast),
        "one_shard_limit_share_5ms_sync": middle(
            "durable", "durable_limit_share", **{**slow, "shards": 1}
        ),
        "one_shard_transitions_per_s": middle("durable", "durable_transitions_per_s", **one),
        "one_shard_jobs_batched_per_s": middle("durable", "jobs_batched_per_s", **one),
        "jobs_http_per_s": middle("http", "jobs_http_per_s"),
        "http_requests_per_job": middle("http", "requests_per_job"),
        "vs_general_queue": times_as_fast([row for row in rows if row["part"] == "chain"]),
        **of_clients([row for row in rows if row["part"] == "clients"]),
    }


def of_clients(rows: list[dict[str, Value]]) -> dict[str, float]:
    """What most clients cost, and that against a thousand."""
    first, last = rows[0], rows[-1]
    cost = [float(row["cpu_us_per_transition"]) for row in (first, last)]
    million = last["clients"] == COUNTS[-1]
    return {
        "million_clients_rss_gib" if million else "clients_rss_gib": float(last["rss_gib"]),
        "restart_s": float(last["restart_s"]),
        "cost_growth_1e3_to_1e6" if million else "cost_growth": cost[1] / cost[0],
    }
