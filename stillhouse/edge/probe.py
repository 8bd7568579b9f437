"""Latency: of probe networks on a device, and of every shape on this host.

A probe has a student's shape and weights drawn from a seed, so it costs no bytes. A device says the
50th and 95th percentile of warm runs at batch 1 on its threads; the host's calibration, which gives
simulated devices their shape, is the least thread CPU time, which a busy machine disturbs least.
"""

import time
from collections.abc import Callable, Sequence
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stillhouse.compress.arch import build
from stillhouse.entities import ArchitectureSpec, Preprocessing, Student

WARM_RUNS = 20
RUNS = 200
PASSES = 8  # of a calibration, which takes turns: no shape has the host's slow moments alone


def probe_network(architecture: ArchitectureSpec, student: Student, seed: int) -> nn.Module:
    """A network of `student`'s shape; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return build(architecture, student).eval()


def latency(
    model: nn.Module, shape: tuple[int, ...], cores: int, runs: int = RUNS
) -> tuple[float, float]:
    """(p50, p95) in ms of warm runs at batch 1 on `cores` threads; `shape` is (axes, samples)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        times = _times_ms(model, shape, WARM_RUNS + runs, time.perf_counter)
        p50, p95 = np.percentile(times[WARM_RUNS:], (50, 95))
    finally:
        torch.set_num_threads(threads)
    return float(p50), float(p95)


def host_calibration(
    architecture: ArchitectureSpec, pre: Preprocessing, students: Sequence[Student]
) -> dict[Student, float]:
    """Milliseconds of thread CPU time of each student on one thread of this host, float32.

    Bits change nothing on the host: students of one shape share one measurement.
    """
    shape = (len(pre.mean), pre.window)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        models = {
            key: probe_network(architecture, student, seed=0)
            for key, student in {(s.width, s.depths): s for s in students}.items()
        }
        least = dict.fromkeys(models, inf)
        for _ in range(PASSES):
            for key, model in models.items():
                times = _times_ms(model, shape, RUNS // PASSES, time.thread_time)
                least[key] = min(least[key], float(times.min()))
    finally:
        torch.set_num_threads(threads)
    return {student: least[student.width, student.depths] for student in students}


@torch.inference_mode()
def _times_ms(
    model: nn.Module, shape: tuple[int, ...], runs: int, clock: Callable[[], float]
) -> NDArray[np.float64]:
    x = torch.zeros(1, *shape)
    times = []
    for _ in range(runs):
        start = clock()
        model(x)
        times.append(1000 * (clock() - start))
    return np.array(times)
