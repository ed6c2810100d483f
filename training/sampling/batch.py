"""Batches of augmented slices, drawn from prepared cases and from simulated heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import CONTRASTS
from model.imaging.grid import THICK_MM
from training.archive import Case
from training.sampling.augment import Geometry, cut, distort_source, spoil
from training.sampling.mcbs import Sample
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
    `present` (B, N) bool: the slice has a truth of this target; None where all have one of all.
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
    present: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def only(self, rows: slice) -> Batch:
        """Some of the slices."""
        return replace(self, **{k: v[rows] for k, v in self._tensors().items()})

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return replace(self, **{k: v.to(device) for k, v in self._tensors().items()})

    def _tensors(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in values.items() if isinstance(v, Tensor)}


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


def candidates(brain: np.ndarray) -> np.ndarray:
    """Numbers of the slices (first axis) that show enough of the brain to learn from."""
    area = brain.sum(axis=(1, 2))
    return np.flatnonzero(area > 0.12 * area.max())


def _posed(array: np.ndarray, plane: int) -> np.ndarray:
    """Slices of a plane first, in the poses of model.imaging.grid: axial (S, P, L), coronal (P, -S, L), sagittal
    (L, -S, P)."""
    axes, flip = (((0, 1, 2), False), ((1, 0, 2), True), ((2, 0, 1), True))[plane]
    out = np.transpose(array, axes)
    return out[:, ::-1] if flip else out


def _cut_case(
    case: Case,
    names: Sequence[str],
    rng: np.random.Generator,
    candidates_of: Callable[[int], np.ndarray],
    span: tuple[float, float] = (0.0, 1.0),
) -> _Planes:
    """A random slice of a case, in a random plane where voxels are cubes, sometimes thick.

    `candidates_of` a plane are the slices to choose from; `span` is the part of them, from 0 (the lowest) to 1, that an
    axial one is taken from.
    """
    plane = int(rng.choice(3, p=[0.86, 0.07, 0.07])) if case.isotropic else 0
    brain, slices = _posed(case.brain, plane), candidates_of(plane)
    if plane == 0 and span != (0.0, 1.0):
        first = int(span[0] * len(slices))
        slices = slices[first : max(first + 1, int(span[1] * len(slices)))]
    z = int(rng.choice(slices))
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
        volume = _posed(case.contrasts[name], plane)
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
        lesion=_posed(case.lesion, plane)[z],
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
        forget_site: float = FORGET_SITE,
    ) -> None:
        self.spoilt, self.contrasts, self.forget_site = spoilt, tuple(contrasts), forget_site
        self.sites = list(sites) or [0] * len(cases)
        self.cases, self.weights = list(cases), np.asarray(weights, dtype=np.float64)
        self.heads, self.size, self.simulated = list(heads), size, simulated
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def draw(self, pattern: Pattern, count: int, rng: np.random.Generator) -> Batch:
        """`count` slices that have all contrasts of the pattern."""
        names = (*pattern.sources, *pattern.targets)
        fits = [k for k, c in enumerate(self.cases) if all(n in c.contrasts for n in names)]
        p = self.weights[fits] / self.weights[fits].sum() if fits else np.zeros(0)
        rows, site = [], []
        for _ in range(count):
            if self.heads and (not fits or rng.random() < self.simulated):
                sample, where = self._simulated(names, rng), 0
            else:
                chosen = int(rng.choice(fits, p=p))
                sample = _cut_case(self.cases[chosen], names, rng, partial(self._candidates, chosen))
                where = self._site(chosen, rng)
            site.append(where)
            rows.append(self._augment(sample, pattern, rng))
        return self._batch(pattern, rows, site, rng)

    def fill(self, pattern: Pattern, samples: Sequence[Sample], rng: np.random.Generator) -> Batch:
        """These samples; a target that a case lacks is a blank image and not `present`.

        Raises:
            KeyError: a case lacks a source.
        """
        names = (*pattern.sources, *pattern.targets)
        rows, site, present = [], [], []
        for one in samples:
            case = self.cases[one.case]
            if self.heads and rng.random() < self.simulated:
                sample, where, there = self._simulated(names, rng), 0, [True] * len(pattern.targets)
            else:
                there = [t in case.contrasts for t in pattern.targets]
                have = [*pattern.sources, *(t for t, is_ in zip(pattern.targets, there, strict=True) if is_)]
                sample = _cut_case(case, have, rng, partial(self._candidates, one.case), one.span)
                where = self._site(one.case, rng)
                blank = np.zeros_like(sample.planes[pattern.sources[0]])
                sample.planes.update({t: blank for t in pattern.targets if t not in sample.planes})
            site.append(where)
            present.append(there)
            rows.append(self._augment(sample, pattern, rng))
        batch = self._batch(pattern, rows, site, rng)
        seen = torch.tensor(present)
        return batch if bool(seen.all()) else replace(batch, present=seen)

    def _candidates(self, case: int, plane: int) -> np.ndarray:
        """`candidates`, looked for once: a whole mask is read for them."""
        if (case, plane) not in self._found:
            self._found[case, plane] = candidates(_posed(self.cases[case].brain, plane))
        return self._found[case, plane]

    def _simulated(self, names: Sequence[str], rng: np.random.Generator) -> _Planes:
        head = self.heads[int(rng.integers(len(self.heads)))]
        s = head.draw(names, rng)
        return _Planes(
            planes=s.planes, brain=s.brain, lesion=s.lesion, quantiles=s.quantiles,
            thickness=s.thickness, stripped=s.stripped, mirror=True,
        )  # fmt: skip

    def _site(self, case: int, rng: np.random.Generator) -> int:
        return 0 if rng.random() < self.forget_site else self.sites[case]

    def _batch(
        self, pattern: Pattern, rows: list[tuple[Tensor, ...]], site: list[int], rng: np.random.Generator
    ) -> Batch:
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
