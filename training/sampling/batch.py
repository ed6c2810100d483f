"""Batches of augmented slices, drawn from prepared cases and from simulated heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model import CONTRASTS
from model.imaging.grid import THICK_MM
from training.archive import Case
from training.sampling.augment import Geometry, cut, distort_source, spoil
from training.sampling.pattern import Pattern
from training.simulation.labels import LabelHead

#: How often neighbours are replaced by the slice itself, so that the network can do without them.
REPLICATE = 0.35
#: How often a sample's site is forgotten, so that site 0, the unknown one, learns what all sites share.
FORGET_SITE = 0.2


@dataclass(frozen=True, kw_only=True)
class Batch:
    """x (B, K, 3, H, W), y (B, N, H, W), brain and lesion (B, 1, H, W), levels (B, K, F), site (B,), labels.

    `spoilt` (B, K) bool: this source of this slice was moved, exchanged or drowned in noise (`spoil`).
    """

    x: Tensor
    y: Tensor
    brain: Tensor
    lesion: Tensor
    levels: Tensor
    site: Tensor
    spoilt: Tensor
    sources: list[int]
    targets: list[int]


@dataclass(frozen=True, kw_only=True)
class _Planes:
    """One sample before augmentation: (contrast, 3, H, W) planes, masks, histogram, slice distance."""

    planes: dict[str, np.ndarray]
    brain: np.ndarray
    lesion: np.ndarray
    quantiles: dict[str, tuple[float, ...]]
    thickness: float
    stripped: bool
    mirror: bool


def _cut_case(case: Case, names: Sequence[str], rng: np.random.Generator) -> _Planes:
    """A random slice of a case, in a random plane where voxels are cubes, sometimes thick."""
    plane = int(rng.choice(3, p=[0.86, 0.07, 0.07])) if case.isotropic else 0
    # Poses of model.imaging.grid: axial (S, P, L); coronal (P, -S, L); sagittal (L, -S, P).
    axes, flip = (((0, 1, 2), False), ((1, 0, 2), True), ((2, 0, 1), True))[plane]

    def posed(array: np.ndarray) -> np.ndarray:
        out = np.transpose(array, axes)
        return out[:, ::-1] if flip else out

    brain = posed(case.brain)
    area = brain.sum(axis=(1, 2))
    candidates = np.flatnonzero(area > 0.12 * area.max())
    z = int(rng.choice(candidates))
    depth = brain.shape[0]
    thickness = case.spacing[2] if plane == 0 else 1.0
    single = thickness > THICK_MM or depth < 4 or not (case.isotropic or thickness <= THICK_MM)
    average = 1
    if case.isotropic and rng.random() < 0.45:
        average, single = int(rng.integers(2, 6)), True
    single = single or rng.random() < REPLICATE
    lo, hi = max(0, z - average // 2), min(depth, z + (average + 1) // 2)
    if average == 1:
        lo, hi = z, z + 1
    planes = {}
    for name in names:
        volume = posed(case.contrasts[name])
        middle = volume[lo:hi].astype(np.float32).mean(axis=0)
        if single:
            planes[name] = np.stack([middle] * 3)
        else:
            around = [max(0, z - 1), min(depth - 1, z + 1)]
            planes[name] = np.stack(
                [volume[around[0]].astype(np.float32), middle, volume[around[1]].astype(np.float32)]
            )
    return _Planes(
        planes=planes,
        brain=brain[z],
        lesion=posed(case.lesion)[z],
        quantiles={n: case.quantiles[n] for n in names},
        thickness=float(hi - lo) * thickness,
        stripped=case.stripped,
        mirror=plane != 2,
    )


class Sampler:
    """Draws batches for a pattern; a share of simulated heads, of the unknown site, is mixed in.

    `spoilt` is the share of batches with a source that is not what it should be (`spoil`). `sites` are the cases' site
    numbers (`NetworkConfig.sites`); without them every case is of the unknown site. `contrasts` is the network's
    table, which the labels of a batch are positions in.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        weights: Sequence[float],
        heads: Sequence[LabelHead],
        *,
        size: tuple[int, int],
        simulated: float,
        sites: Sequence[int] = (),
        spoilt: float = 0.0,
        contrasts: Sequence[str] = CONTRASTS,
    ) -> None:
        self.spoilt, self.contrasts = spoilt, tuple(contrasts)
        self.sites = list(sites) or [0] * len(cases)
        self.cases, self.weights = list(cases), np.asarray(weights, dtype=np.float64)
        self.heads, self.size, self.simulated = list(heads), size, simulated

    def draw(self, pattern: Pattern, count: int, rng: np.random.Generator) -> Batch:
        """`count` slices that have all contrasts of the pattern."""
        names = (*pattern.sources, *pattern.targets)
        fits = [k for k, c in enumerate(self.cases) if all(n in c.contrasts for n in names)]
        rows, site = [], []
        for _ in range(count):
            if self.heads and (not fits or rng.random() < self.simulated):
                head = self.heads[int(rng.integers(len(self.heads)))]
                s = head.draw(names, rng)
                sample = _Planes(
                    planes=s.planes, brain=s.brain, lesion=s.lesion, quantiles=s.quantiles,
                    thickness=s.thickness, stripped=s.stripped, mirror=True,
                )  # fmt: skip
                site.append(0)
            else:
                p = self.weights[fits] / self.weights[fits].sum()
                chosen = int(rng.choice(fits, p=p))
                sample = _cut_case(self.cases[chosen], names, rng)
                site.append(0 if rng.random() < FORGET_SITE else self.sites[chosen])
            rows.append(self._augment(sample, pattern, rng))
        x, y, brain, lesion, levels = (torch.stack(v) for v in zip(*rows, strict=True))
        x, levels, spoilt = spoil(x, levels, rng, self.spoilt)
        return Batch(
            x=x, y=y, brain=brain, lesion=lesion, levels=levels, site=torch.tensor(site), spoilt=spoilt,
            sources=[self.contrasts.index(c) for c in pattern.sources],
            targets=[self.contrasts.index(c) for c in pattern.targets],
        )  # fmt: skip

    def _augment(self, s: _Planes, pattern: Pattern, rng: np.random.Generator) -> tuple[Tensor, ...]:
        rows, columns = np.nonzero(s.brain)
        centre = (float(rows.mean()), float(columns.mean()))
        geometry = Geometry.draw(rng, centre, s.mirror)
        stack = [s.planes[c] for c in pattern.sources]
        stack += [s.planes[c][1:2] for c in pattern.targets]
        stack += [s.brain[None].astype(np.float32), s.lesion[None].astype(np.float32)]
        planes = cut(torch.from_numpy(np.concatenate(stack).astype(np.float32)), geometry, self.size)
        k = len(pattern.sources)
        sources, levels = [], []
        for i, contrast in enumerate(pattern.sources):
            x, quantiles = planes[3 * i : 3 * i + 3], list(s.quantiles[contrast])
            if contrast != "ADC":  # a quantity, not an intensity
                x, quantiles = distort_source(x, quantiles, rng)
            sources.append(x)
            levels.append([*quantiles, s.thickness / 5.0, float(s.stripped)])
        y = planes[3 * k : 3 * k + len(pattern.targets)].clamp(0, 1.5)
        brain = (planes[-2:-1] > 0.5).float()
        return (
            torch.stack(sources),
            y,
            brain,
            (planes[-1:] > 0.5).float(),
            torch.tensor(levels, dtype=torch.float32),
        )
