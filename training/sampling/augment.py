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
    x = x + noise * torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32)) * (x > 0)
    return x.clamp(0, 2), quantiles
