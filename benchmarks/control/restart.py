"""A fresh process that opens four shards, answers, and runs whole jobs of some clients."""

import json
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import psutil

from benchmarks.control.clients import SHARDS, home, identity, place
from benchmarks.control.durable import Shard
from benchmarks.control.workload import Client, whole_job
from benchmarks.report import Value

SAMPLE = 400  # clients whose jobs are run
SIDE_BY_SIDE = 40  # jobs


def probe(folder: Path, among: range) -> dict[str, Value]:
    """Open the four shards, answer, and run whole jobs of some clients."""
    shards = [Shard(place(folder, each), identity=identity(each)) for each in range(SHARDS)]
    for number, each in enumerate(shards):
        each.desk.resume()
        each.journal.states()
        one = next(client for client in map(Client.numbered, count()) if home(client) == number)
        each.pipeline.read(partial(each.store.rows, [one.job_id(1)]))
    answered_at = time.time()
    numbers = Random(among.stop).sample(among, SAMPLE)
    chosen = [Client.numbered(each) for each in numbers]
    spent, moved = 0.0, 0
    for number, shard in enumerate(shards):
        mine = [each for each in chosen if home(each) == number]
        for page in range(0, len(mine), SIDE_BY_SIDE):
            scripts = [whole_job(each, 1)[1:] for each in mine[page : page + SIDE_BY_SIDE]]
            before, cpu = shard.transitions, time.process_time()
            for call in zip(*scripts, strict=True):
                shard.apply(call)
            spent += time.process_time() - cpu
            moved += shard.transitions - before
    return {
        "answered_at": answered_at,
        "jobs": len(chosen),
        "transitions": moved,
        "cpu_us_per_transition": spent / moved * 1e6,
        "rss_gib": psutil.Process().memory_info().rss / 2**30,
    }


if __name__ == "__main__":
    print(json.dumps(probe(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))))
