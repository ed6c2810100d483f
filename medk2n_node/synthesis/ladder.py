"""What to give up when memory runs out: smaller batches first, then the device; never the study."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from medk2n_node.observe import get_logger

log = get_logger("synthesis")
T = TypeVar("T")


def rungs(device: str, batch_slices: int) -> list[tuple[str, int]]:
    """The (device, slices per batch) pairs to try in order, halving the batch and ending on the CPU."""
    steps: list[tuple[str, int]] = []
    for place in dict.fromkeys((device, "cpu")):
        size = batch_slices
        while size >= 1:
            steps.append((place, size))
            size //= 2
    return steps


def climb_down(attempt: Callable[[str, int], T], device: str, batch_slices: int) -> T:
    """Call `attempt(device, batch_slices)` on each rung until one fits into memory."""
    import torch

    steps = rungs(device, batch_slices)
    for place, size in steps[:-1]:
        try:
            return attempt(place, size)
        except (MemoryError, torch.OutOfMemoryError) as error:
            log.warning("out of memory, trying less", device=place, batch_slices=size, error=str(error))
        if place.startswith("cuda"):
            torch.cuda.empty_cache()
    return attempt(*steps[-1])


def resolve_device(wanted: str) -> str:
    """`auto` becomes the first CUDA device where there is one, else the CPU."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted
