"""What a method under evaluation is: anything that makes targets of a case from its sources."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.imaging.grid import THICK_MM
from training.archive import Case

Images = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.intp]

#: Slices in one call of a network.
BATCH = 6


class Method(Protocol):
    """One competitor of an evaluation."""

    @property
    def name(self) -> str:
        """How reports call it; methods that differ by their seed alone share a name."""

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The targets on every `every`-th slice that holds brain.

        Returns:
            (n, N, H, W) in units of what the method holds to be the target's 99.5th percentile inside the brain, and
            the n slice numbers.
        """


def brain_slices(case: Case, every: int = 1) -> Numbers:
    """Numbers of every `every`-th slice that holds brain."""
    return np.flatnonzero(case.brain.any(axis=(1, 2)))[::every]


def connected(case: Case) -> bool:
    """Whether a slice's neighbours are near enough to be read with it (MODEL section 2, 2.5D)."""
    return case.isotropic or (case.spacing[2] <= THICK_MM and case.brain.shape[0] > 3)


def source_slices(case: Case, sources: tuple[str, ...], z: Numbers) -> Tensor:
    """Slices z-1, z, z+1 of each source: (n, K, 3, H, W), H and W padded at their end to multiples of 32.

    Edges are replicated; a slice whose neighbours are far away stands in for them.
    """
    depth, height, width = case.brain.shape
    steps = (-1, 0, 1) if connected(case) else (0, 0, 0)
    around = np.stack([np.clip(z + step, 0, depth - 1) for step in steps])
    x = torch.from_numpy(np.stack([case.contrasts[c][around].astype(np.float32) for c in sources]))
    return F.pad(x.permute(2, 0, 1, 3, 4), (0, -width % 32, 0, -height % 32))
