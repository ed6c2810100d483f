"""Augmentation: one geometry for all contrasts of a slice; intensity changes on sources only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A random in-plane similarity: rotation, scale, mirror, centre."""

    angle: float
    scale: float
    mirror: bool
    centre: tuple[float, float]

    @staticmethod
    def draw(
        rng: np.random.Generator, centre: tuple[float, float], mirror: bool, jitter: float = 14.0
    ) -> Geometry:
        """Within what repositioning, head size and pixel size vary."""
        return Geometry(
            angle=float(rng.normal(0, math.radians(7))),
            scale=float(rng.uniform(0.86, 1.2)),
            mirror=mirror and bool(rng.random() < 0.5),
            centre=(
                centre[0] + float(rng.uniform(-jitter, jitter)),
                centre[1] + float(rng.uniform(-jitter, jitter)),
            ),
        )


def cut(planes: Tensor, geometry: Geometry, size: tuple[int, int]) -> Tensor:
    """(C, H, W) -> (C, *size) around the centre, bilinear, zero outside."""
    height, width = planes.shape[-2:]
    cos, sin = math.cos(geometry.angle), math.sin(geometry.angle)
    step = geometry.scale
    sx = -1.0 if geometry.mirror else 1.0
    # Output pixel (u, v), centred, to input pixel; then to grid_sample's -1..1.
    a = torch.tensor([[cos * step * sx, -sin * step], [sin * step * sx, cos * step]])
    down, across = (torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in size)
    v, u = torch.meshgrid(down, across, indexing="ij")
    xy = torch.stack([u, v], dim=-1) @ a.T + torch.tensor([geometry.centre[1], geometry.centre[0]])
    grid = (2 * xy + 1) / torch.tensor([width, height], dtype=torch.float32) - 1
    return F.grid_sample(
        planes[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )[0]


def distort_source(x: Tensor, quantiles: list[float], rng: np.random.Generator) -> tuple[Tensor, list[float]]:
    """Gamma, gain, coil bias, blur and noise on one source's (3, H, W), and the histogram it then has."""
    gamma = float(np.exp(rng.normal(0, 0.18)))
    gain = float(np.exp(rng.normal(0, 0.08)))
    x = gain * x.clamp_min(0) ** gamma
    quantiles = [gain * max(q, 0.0) ** gamma for q in quantiles]
    if rng.random() < 0.5:
        coarse = torch.from_numpy(rng.normal(0, 0.12, (1, 1, 4, 4)).astype(np.float32))
        bias = F.interpolate(coarse, x.shape[-2:], mode="bicubic", align_corners=True)[0, 0]
        x = x * torch.exp(bias)
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.4, 1.0))
        line = torch.exp(-0.5 * (torch.arange(-2, 3) / sigma) ** 2)
        kernel = (line[:, None] * line[None]) / line.sum() ** 2
        x = F.conv2d(x[:, None], kernel[None, None], padding=2)[:, 0]
    noise = abs(float(rng.normal(0, 0.02)))
    x = _noise(x.shape, rng).mul_(noise).mul_(x > 0).add_(x)
    return x.clamp_(0, 2), quantiles


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Normal numbers of a generator that rng begins: PyTorch draws them in a quarter of NumPy's time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(rng.integers(2**62))))


def spoil(
    x: Tensor, levels: Tensor, rng: np.random.Generator, chance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One source of a part of the slices becomes one that should not be trusted.

    It is moved by 3 to 24 pixels, turned by 3 to 14 degrees, exchanged for another slice's of the same batch or
    drowned in noise: what the weight networks must learn to turn down, and QualityFeedback to expect little of.

    Args:
        x: (B, K, 3, H, W), levels: (B, K, F); a batch of one source is left alone.
        chance: of a batch being treated; about half of its slices are then.

    Returns:
        x, levels, and (B, K) bool where they were spoilt; at most one source of a batch.
    """
    batch, k = x.shape[:2]
    spoilt = torch.zeros(batch, k, dtype=torch.bool)
    if k < 2 or rng.random() >= chance:
        return x, levels, spoilt
    source = int(rng.integers(k))
    new, histogram = x.clone(), levels.clone()
    for b in range(batch):
        if rng.random() < 0.5:
            continue
        spoilt[b, source] = True
        kind = int(rng.integers(4))
        if kind == 0 or (kind == 1 and batch == 1):
            sign = rng.choice((-1, 1), 2)
            shift = [int(v) for v in sign * rng.integers(3, 25, 2)]
            new[b, source] = torch.roll(x[b, source], shift, dims=(-2, -1))
        elif kind == 3:
            height, width = x.shape[-2:]
            angle = math.radians(float(rng.choice((-1, 1)) * rng.uniform(3, 14)))
            turned = Geometry(
                angle=angle, scale=1.0, mirror=False, centre=((height - 1) / 2, (width - 1) / 2)
            )
            new[b, source] = cut(x[b, source], turned, (height, width))
        elif kind == 1:
            other = (b + 1 + int(rng.integers(batch - 1))) % batch
            new[b, source], histogram[b, source] = x[other, source], levels[other, source]
        else:
            noise = _noise(x.shape[2:], rng)
            new[b, source] = (x[b, source] + float(rng.uniform(0.15, 0.5)) * noise).clamp(0, 2)
    return new, histogram, spoilt
