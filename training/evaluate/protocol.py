"""The evaluation protocol on prepared cases: masked PSNR as it comes and after the best linear fit to the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.imaging.grid import THICK_MM
from model.network import MedK2N, Prediction
from training.archive import Case


def score(
    prediction: npt.NDArray[np.float32], truth: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]
) -> float:
    """PSNR in dB inside the mask; both in units of the target's p99.5, clipped to 0..1."""
    error = np.clip(prediction[mask], 0, 1) - np.clip(truth[mask], 0, 1)
    return float(-10 * np.log10(np.mean(error.astype(np.float64) ** 2) + 1e-12))


def score_after_fit(
    prediction: npt.NDArray[np.float32], truth: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]
) -> float:
    """The same after the best linear fit to the truth: a second reading without the brightness difference."""
    p, y = np.clip(prediction[mask], 0, 1).astype(np.float64), np.clip(truth[mask], 0, 1)
    line = np.polyfit(p, y, 1)
    error = np.clip(np.polyval(line, p), 0, 1) - y
    return float(-10 * np.log10(np.mean(error**2) + 1e-12))


def _mean_of_heads(p: Prediction) -> torch.Tensor:
    return p.images.mean(dim=2)


@torch.no_grad()
def predict_case(
    network: MedK2N,
    case: Case,
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    every: int = 1,
    *,
    pick: Callable[[Prediction], torch.Tensor] = _mean_of_heads,
    site: int = 0,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """The image for every `every`-th slice that holds brain: (n, N, H, W), and the slice numbers.

    `pick` takes the image (B, N, H, W) out of a prediction; `site` is a number of the network's sites, 0 = unknown.
    """
    network.eval()
    z = np.flatnonzero(case.brain.any(axis=(1, 2)))[::every]
    depth = case.brain.shape[0]
    connected = case.isotropic or (case.spacing[2] <= THICK_MM and depth > 3)
    height, width = case.brain.shape[1:]
    pad = (-width % 32, -height % 32)
    levels = torch.tensor([[case.level_features(c) for c in sources]], dtype=torch.float32)
    known = network.config.contrasts
    labels = [known.index(c) for c in sources], [known.index(c) for c in targets]
    out = []
    for start in range(0, len(z), 6):
        rows = z[start : start + 6]
        around = np.stack([np.clip(rows + d, 0, depth - 1) if connected else rows for d in (-1, 0, 1)])
        x = torch.from_numpy(np.stack([case.contrasts[c][around].astype(np.float32) for c in sources]))
        x = F.pad(x.permute(2, 0, 1, 3, 4), (0, pad[0], 0, pad[1]))  # (B, K, 3, H, W)
        where = torch.full((1,), site)
        p = network(x, *labels, levels.expand(len(rows), -1, -1), site=where)
        out.append(pick(p)[..., :height, :width].numpy())
    return np.concatenate(out), z
