"""Latency: of probe networks on a device, and of every shape on this host.

A probe has a student's shape and weights drawn from a seed, so it costs no bytes. A device says the
50th and 95th percentile of warm runs at batch 1 on its threads; the host's calibration, which gives
simulated devices their shape, is the least thread CPU time, which a busy machine disturbs least.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stillhouse.compress.arch import build
from stillhouse.entities import ArchitectureSpec, Preprocessing, Student

WARM_RUNS = 20
RUNS = 200


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
        p50, p95 = np.percentile(_times_ms(model, shape, runs, time.perf_counter), (50, 95))
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
    found: dict[tuple[float, tuple[int, ...]], float] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for student in students:
            key = (student.width, student.depths)
            if key not in found:
                model = probe_network(architecture, student, seed=0)
                found[key] = float(_times_ms(model, shape, RUNS, time.thread_time).min())
    finally:
        torch.set_num_threads(threads)
    return {student: found[student.width, student.depths] for student in students}


@torch.inference_mode()
def _times_ms(
    model: nn.Module, shape: tuple[int, ...], runs: int, clock: Callable[[], float]
) -> NDArray[np.float64]:
    x = torch.zeros(1, *shape)
    times = []
    for _ in range(WARM_RUNS + runs):
        start = clock()
        model(x)
        times.append(1000 * (clock() - start))
    return np.array(times[WARM_RUNS:])
