"""What this machine can do at best, measured in the run that is compared with it."""

from __future__ import annotations

import resource
import statistics
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
    return 2 * MATRIX**3 / best_of(5, _product()) / 1e9


def beside_matmul(rounds: int, work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the work and GFLOP/s of a product of matrices, medians of rounds in which one follows the other.

    A machine that others use as well changes its speed within seconds: only neighbours can be compared.
    """
    product = _product()
    rows = [(best_of(1, product), best_of(1, work)) for _ in range(rounds)]
    floor, spent = (statistics.median(column) for column in zip(*rows, strict=True))
    return spent, 2 * MATRIX**3 / floor / 1e9


def _product() -> Callable[[], object]:
    import torch

    left, right = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    return lambda: torch.mm(left, right)


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
