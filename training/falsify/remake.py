"""Do the sources of a study agree? Each is made again from the others and compared with what was acquired.

A source whose label is wrong, that lies elsewhere, that moved, or that shows what no other shows, is not what the
others say it should be. This costs one fusion per source on a few slices; the encoding is shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.bundle import Bundle
from model.imaging.image import FloatArray
from model.slices import Stack, box_of


@dataclass(frozen=True, kw_only=True)
class Remade:
    """One source as the others say it should be, on the slices `z`, cropped to the head.

    Attributes:
        acquired, remade, half_width: (n, h, w) normalised; brain: (n, h, w).
    """

    z: npt.NDArray[np.intp]
    acquired: FloatArray
    remade: FloatArray
    half_width: FloatArray
    brain: npt.NDArray[np.bool_]


@torch.inference_mode()
def remake(
    bundle: Bundle, stack: Stack, *, device: str = "cpu", batch_slices: int = 8
) -> Mapping[str, Remade]:
    """Every source from all others, on every slice of `stack.head`; empty for a single source."""
    used = tuple(stack.arrays)
    if len(used) < 2:
        return {}
    network = bundle.network.to(device)
    rows, columns = box_of(stack.head)
    crop = np.stack([array[:, rows, columns] for array in stack.arrays.values()])  # (K, S, h, w)
    depth, height, width = crop.shape[1:]
    pad = (0, -width % 32, 0, -height % 32)
    z_all = np.flatnonzero(stack.head.any(axis=(1, 2)))
    labels = [bundle.contrasts.index(n) for n in used]
    levels = stack.levels.to(device)
    made = {n: np.zeros((2, len(z_all), height, width), np.float32) for n in used}
    for start in range(0, len(z_all), batch_slices):
        z = z_all[start : start + batch_slices]
        around = np.stack([z if stack.thick else np.clip(z + d, 0, depth - 1) for d in (-1, 0, 1)], axis=1)
        x = torch.from_numpy(crop[:, around].transpose(1, 0, 2, 3, 4)).to(device)  # (B, K, 3, h, w)
        site = torch.full((len(z),), stack.site, dtype=torch.long, device=device)
        histograms = levels.expand(len(z), -1, -1)
        encoded = network.encode(F.pad(x, pad), labels, site)
        for k, name in enumerate(used):
            rest = [i for i in range(len(used)) if i != k]
            p = network.fuse(
                encoded.of(rest), [labels[i] for i in rest], [labels[k]], histograms[:, rest], None, site
            )
            both = torch.stack([p.images.mean(dim=2)[:, 0], ((p.below + p.above) / 2)[:, 0]])
            made[name][:, start : start + len(z)] = both[..., :height, :width].float().cpu().numpy()
    brain = stack.brain[z_all][:, rows, columns]
    return {
        name: Remade(
            z=z_all, acquired=crop[k, z_all], remade=made[name][0], half_width=made[name][1], brain=brain
        )
        for k, name in enumerate(used)
    }
