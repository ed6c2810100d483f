"""How many slices go through the network at once, and on how many cores.

No slice reads another's result. On a CPU two tiles side by side, a core each, take a sixth less time than one tile on
two cores: no core waits for the other behind every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from model.network import MedK2N

Result = TypeVar("Result")

#: No tensor of a tile on a CPU is larger: the C library hands larger blocks back to the system and asks for them anew
#: each time, and the system clears them page by page, which costs up to a third of the network's time.
TILE_BYTES = 24 << 20


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """`step` slices a tile, `at_once` tiles side by side: together never more slices than were allowed."""

    step: int
    at_once: int = 1

    def over(self, count: int, work: Callable[[int, int], Result]) -> Iterator[Result]:
        """work(start, stop) for all tiles of `count` slices, in order; side by side each has its share of the cores.

        What a tile raises is raised here, and tiles that have not begun are not begun.
        """
        rounds = -(-count // (self.step * self.at_once))
        step = (
            max(1, -(-count // (rounds * self.at_once))) if rounds else 1
        )  # as even as can be: no core is left idle
        spans = [(start, min(start + step, count)) for start in range(0, count, step)]
        workers = min(self.at_once, len(spans))
        if workers < 2:
            yield from (work(*span) for span in spans)
            return
        cores = torch.get_num_threads()
        share = (max(1, cores // workers),)
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=share) as pool:
                tiles = [pool.submit(work, *span) for span in spans]
                try:
                    for tile in tiles:
                        yield tile.result()
                finally:
                    for tile in tiles:
                        tile.cancel()
        finally:
            torch.set_num_threads(cores)  # the number is the process's, not the thread's


def tiling(
    network: MedK2N, sources: int, height: int, width: int, most: int, *, device: str = "cpu"
) -> Tiling:
    """The tiles for slices of this size: together at most `most` slices; a GPU takes them all in one tile."""
    if device.startswith("cuda"):
        return Tiling(step=most)
    at_once = max(1, min(torch.get_num_threads(), most))
    fits = TILE_BYTES // (4 * _widest(network, sources) * height * width)
    return Tiling(step=max(1, min(most // at_once, fits)), at_once=at_once)


def _widest(network: MedK2N, sources: int) -> int:
    """Numbers per pixel of what all sources hold at once: detail maps, or the neck's at stride 4.

    Targets go one by one.
    """
    encoder = network.encoder.config
    return sources * max(network.config.detail // 4, max(encoder.width, encoder.features) // 16)
