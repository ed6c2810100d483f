"""Real slices of training patients under what scanners and preprocessing do to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import CONTRASTS
from model.identity import BACKGROUND, SUBSTANTIAL
from training.archive import Case
from training.sampling.augment import Geometry, cut
from training.simulation.labels import LabelHead

#: Rows and columns of a drawn slice.
SIDE = 128
#: How a volume of cubes is cut: axial, coronal, sagittal.
PLANES = (0.6, 0.2, 0.2)
#: Share of simulated slices: more where real patients are few.
SIMULATED: Mapping[str, float] = {"DWI": 0.25, "ADC": 0.25}
SIMULATED_ELSE = 0.12


def plane_view(array: np.ndarray, plane: int) -> np.ndarray:
    """A posed axial volume as axial (0), coronal (1) or sagittal (2) slices (poses of model.imaging.grid)."""
    axes, flip = (((0, 1, 2), False), ((1, 0, 2), True), ((2, 0, 1), True))[plane]
    out = np.transpose(array, axes)
    return out[:, ::-1] if flip else out


def _weight(case: Case) -> float:
    depth = case.brain.shape[0]
    return 0.06 if depth <= 3 else 0.5 if depth < 25 else 1.0


class SliceSampler:
    """Draws labelled slices, every contrast equally often."""

    def __init__(
        self,
        cases: Sequence[Case],
        heads: Sequence[LabelHead],
        contrasts: Sequence[str] = CONTRASTS,
        simulated: Mapping[str, float] = SIMULATED,
    ) -> None:
        self.cases, self.heads, self.simulated = list(cases), list(heads), dict(simulated)
        self.contrasts = tuple(contrasts)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(B, 1, SIDE, SIDE) slices and (B,) labels."""
        labels = [int(k) for k in rng.permutation(np.arange(count) % len(self.contrasts))]
        images = torch.stack([self._one(self.contrasts[k], rng) for k in labels])
        return images, torch.tensor(labels)

    def _one(self, contrast: str, rng: np.random.Generator) -> Tensor:
        fits = [c for c in self.cases if contrast in c.contrasts]
        share = self.simulated.get(contrast, SIMULATED_ELSE)
        if self.heads and (not fits or rng.random() < share):
            head = self.heads[int(rng.integers(len(self.heads)))].draw([contrast], rng)
            plane, brain = head.planes[contrast][1], head.brain
        else:
            weights = np.array([_weight(c) for c in fits])
            case = fits[int(rng.choice(len(fits), p=weights / weights.sum()))]
            plane, brain = _cut(case, contrast, rng)
        seen = brain
        if rng.random() < 0.5:  # synthetic images are judged inside the brain, acquired ones with their skull
            plane = plane * brain
        else:
            seen = brain | (plane > BACKGROUND * np.percentile(plane, 99))
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        geometry = Geometry(
            angle=float(rng.normal(0, math.radians(8))),
            # Whoever asks crops to the head or the brain, more or less closely.
            scale=float(extent / SIDE * np.exp(rng.uniform(-0.15, 0.35))),
            mirror=bool(rng.random() < 0.5),
            centre=(
                float(rows.mean() + rng.normal(0, 0.05) * extent),
                float(columns.mean() + rng.normal(0, 0.05) * extent),
            ),
        )
        x = cut(torch.from_numpy(plane.astype(np.float32))[None], geometry, (SIDE, SIDE))
        return distort(x, rng)


def _cut(case: Case, contrast: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A slice and its brain; a volume of cubes in any plane and sometimes thick."""
    plane = int(rng.choice(3, p=PLANES)) if case.isotropic else 0
    volume, brain = plane_view(case.contrasts[contrast], plane), plane_view(case.brain, plane)
    area = brain.sum(axis=(1, 2))
    z = int(rng.choice(np.flatnonzero(area >= SUBSTANTIAL * area.max())))
    thick = int(rng.integers(1, 5)) if case.isotropic else 1
    lo, hi = max(0, z - thick // 2), min(volume.shape[0], z + (thick + 1) // 2)
    return volume[lo:hi].astype(np.float32).mean(axis=0), brain[z]


def distort(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Gamma, coil bias, blur and noise on a (1, H, W) slice; the gain is taken out by the tower itself."""
    x = x.clamp_min(0) ** float(np.exp(rng.normal(0, 0.2)))
    if rng.random() < 0.6:
        coarse = torch.from_numpy(rng.normal(0, 0.18, (1, 1, 4, 4)).astype(np.float32))
        bias = F.interpolate(coarse, x.shape[-2:], mode="bicubic", align_corners=True)[0]
        x = x * torch.exp(bias)
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.4, 2.2))
        line = torch.exp(-0.5 * (torch.arange(-4, 5) / sigma) ** 2)
        line = line / line.sum()
        x = F.conv2d(x[None], line.view(1, 1, 1, -1), padding=(0, 4))
        x = F.conv2d(x, line.view(1, 1, -1, 1), padding=(4, 0))[0]
    noise = abs(float(rng.normal(0, 0.02)))
    x = x + noise * torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32)) * (x > 0)
    return x.clamp_min(0)
