"""What this machine can do at best, measured in the run that is compared with it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

MATRIX = 2048
_CLEAR_PEAK = "5"  # Linux, proc(5), clear_refs: forget the largest resident size so far


def best_of(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds, after one that warms up."""
    work()
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def matmul_rate() -> float:
    """GFLOP/s of one product of matrices in fp32."""
    import torch

    left, right = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    return 2 * MATRIX**3 / best_of(5, lambda: torch.mm(left, right)) / 1e9


def convolution_rate() -> float:
    """GFLOP/s of a 3x3 convolution of 64 channels on eight maps of 128x128."""
    import torch

    channels, batch, side = 64, 8, 128
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
    image = torch.rand(batch, channels, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        spent = best_of(5, lambda: layer(image))
    return float(2 * batch * side * side * channels * channels * 9 / spent / 1e9)


def memory_rate() -> float:
    """GB/s of adding two large arrays: what bounds everything that is no product."""
    import torch

    left, right = torch.rand(1 << 25), torch.rand(1 << 25)
    out = torch.empty_like(left)
    return 3 * left.nbytes / best_of(3, lambda: torch.add(left, right, out=out)) / 1e9


def reset_peak() -> None:
    """Forget the largest resident size so far, where the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)
    except OSError:
        return  # then the peak is that of the whole process


def peak_memory() -> float:
    """The largest resident size since `reset_peak`, in GiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 2**20
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
