"""Seconds per stage of one synthesis (T1 + T2 -> FLAIR of the phantom head), beside the floor of this machine.

The floor is the number of floating point operations that the network needs, divided by the rate at which this machine
multiplies matrices, measured in the same run. The ratio says how far the network is from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

MATRIX = 2048


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """{"seconds": {stage: ..}, "gflop": .., "gflops_per_second": .., "floor_s": .., "ratio": ..} on the CPU."""
    import numpy as np
    from torch.utils.flop_counter import FlopCounterMode

    from medk2n_node.demo.maps import head
    from medk2n_node.demo.phantom import axial_grid, motion, scan
    from model import Image, load_bundle, synthesize

    say("synthesis: computing the phantom head")
    phantom, grid, still = head(), axial_grid(), motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0)
    sources = {
        contrast: Image(
            array=np.asarray(scan(phantom, contrast, grid, still, seed=seed), dtype=np.float32),
            affine=grid.affine,
            frame_of_reference=None,
        )
        for contrast, seed in (("T1", 1), ("T2", 2))
    }
    bundle = load_bundle()
    say("synthesis: first run, which counts the operations")
    totals: dict[str, list[int]] = {}
    with FlopCounterMode(display=False) as counter:
        # The brain mask has a network of its own: count what is added between the first and the last word of a stage.
        synthesize(
            sources,
            ["FLAIR"],
            bundle,
            progress=lambda stage, _: totals.setdefault(stage, []).append(counter.get_total_flops()),
        )
    say("synthesis: second run, which is timed")
    outputs = synthesize(sources, ["FLAIR"], bundle)
    rate = matmul_rate()
    gflop = (totals["network"][-1] - totals["network"][0]) / 1e9
    network, floor = outputs.seconds["network"], gflop / rate
    for stage, seconds in outputs.seconds.items():
        say(f"  {stage:<12} {seconds:6.1f} s")
    say(
        f"  network: {gflop:.0f} GFLOP at {rate:.0f} GFLOP/s would take {floor:.1f} s; "
        f"it took {network / floor:.1f} times that"
    )
    return {
        "seconds": dict(outputs.seconds),
        "gflop": round(gflop, 1),
        "gflops_per_second": round(rate, 1),
        "floor_s": round(floor, 2),
        "ratio": round(network / floor, 2),
    }


def matmul_rate() -> float:
    """GFLOP/s of one product of matrices in fp32, the best of five."""
    import torch

    left, right = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - started)
    return 2 * MATRIX**3 / best / 1e9
