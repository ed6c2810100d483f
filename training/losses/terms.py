"""The training loss: error, structure, wavelet detail, quality regression and interval, inside the brain first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network import Prediction
from training.sampling import Batch


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term, and of the pixels outside the brain."""

    error: float = 1.0
    ssim: float = 0.15
    haar: float = 0.1
    base: float = 0.3
    quality: float = 0.2
    interval: float = 0.2
    outside: float = 0.1
    lesion: float = 2.0
    each_head: float = 0.35
    best_head: float = 0.15
    gate: float = 0.05
    causal: float = 0.05
    metric: float = 0.05


def charbonnier(error: Tensor, knee: float = 0.1) -> Tensor:
    """Quadratic below the knee, linear above: a mean where the level is uncertain, robust at vessels and edges."""
    return torch.sqrt(error.square() + knee * knee) - knee


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.expand_as(values).sum().clamp_min(1.0)


def ssim_map(a: Tensor, b: Tensor, sigma: float = 1.5, size: int = 7) -> Tensor:
    """Structural similarity at each pixel, (B, C, H, W) in 0..1 data range, Gaussian window."""
    line = torch.exp(-0.5 * ((torch.arange(size, device=a.device) - size // 2) / sigma) ** 2)
    line = line / line.sum()
    channels = a.shape[1]

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(
            x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), padding=(0, size // 2), groups=channels
        )
        return F.conv2d(
            x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), padding=(size // 2, 0), groups=channels
        )

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
    return ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4)) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))


def _haar(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 3C, H/2, W/2) detail bands."""
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    return torch.cat([(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2], dim=1)


def pinball(error: Tensor, level: float) -> Tensor:
    """Quantile loss of `error` = truth - bound."""
    return torch.maximum(level * error, (level - 1) * error)


#: Gain in dB that makes a source's global weight 0.73; none makes it 0.5.
GAIN_DB = 1.0
#: Global weight wanted of a source that was spoilt.
TURNED_DOWN = 0.05


def gate_loss(p: Prediction, batch: Batch) -> Tensor:
    """The quality gain guides PreWeightNet (paper section 2.5): w_global of a pair follows what the source was worth.

    With one auxiliary source its gain over the key alone is measured slice by slice. A spoilt source is known to be
    worth nothing, whatever the number of sources.
    """
    total, count = p.w_global.new_zeros(()), 0
    area = batch.brain.sum(dim=(1, 2, 3)).clamp_min(1)
    for column, (i, j) in enumerate(p.pairs):
        with torch.no_grad():
            spoilt = batch.spoilt[:, i]
            inside, truth = batch.brain[:, 0], batch.y[:, j]
            fused = ((p.images[:, j].mean(1) - truth).square() * inside).sum(dim=(1, 2)) / area
            base = ((p.base[:, j, 0] - truth).square() * inside).sum(dim=(1, 2)) / area
            gain = 10 * torch.log10((base + 1e-5) / (fused + 1e-5))
            wanted = torch.sigmoid(gain.clamp(-4, 4) / GAIN_DB)
            wanted = torch.where(spoilt, torch.full_like(wanted, TURNED_DOWN), wanted)
            known = spoilt if len(batch.sources) > 2 else torch.ones_like(spoilt)
        each = F.binary_cross_entropy(p.w_global[:, column], wanted, reduction="none")
        total, count = total + (each * known).sum(), count + int(known.sum())
    return total / max(1, count)


def total_loss(p: Prediction, batch: Batch, w: Weights) -> tuple[Tensor, dict[str, float]]:
    """The sum, and its parts for the log."""
    y = batch.y
    weight = batch.brain + w.outside * (1 - batch.brain) + w.lesion * batch.lesion * batch.brain
    mean = p.images.mean(dim=2)
    each = charbonnier(p.images - y[:, :, None])  # (B, N, 3, H, W)
    per_head = (each * weight[:, :, None]).mean(dim=(-1, -2)) / weight.mean(dim=(-1, -2))[
        :, :, None
    ].clamp_min(1e-3)
    share = 1 - w.each_head - w.best_head
    error = share * _mean(charbonnier(mean - y), weight)
    error = error + w.each_head * per_head.mean() + w.best_head * per_head.min(dim=2).values.mean()
    inside = batch.brain.expand_as(y)
    structure = ssim_map(mean.clamp(0, 1.2) * inside, y.clamp(0, 1.2) * inside)
    ssim = 1 - _mean(structure, batch.brain)
    small = F.avg_pool2d(weight, 2)
    haar = _mean((_haar(mean) - _haar(y)).abs(), small)
    base = _mean(charbonnier(p.base.squeeze(2) - y), weight)

    with torch.no_grad():
        candidates = torch.cat([p.images, p.base], dim=2)
        flat = candidates.flatten(1, 2)
        truth = y[:, :, None].expand_as(candidates).flatten(1, 2)
        l1 = F.avg_pool2d((flat - truth).abs(), 4)
        dissimilar = F.avg_pool2d(1 - ssim_map(flat.clamp(0, 1.2), truth.clamp(0, 1.2)), 4)
        wanted = torch.stack([l1, dissimilar], dim=2).unflatten(1, candidates.shape[1:3])
        patch = F.avg_pool2d(batch.brain, 4)[:, :, None, None]
    said = torch.cat([p.errors, p.base_errors], dim=2)
    scale = torch.tensor([1.0, 0.2], device=y.device)[:, None, None]
    quality = _mean((said - wanted).abs() * scale, patch)

    centre = mean.detach()
    lower = pinball(y - (centre - p.below), 0.05)
    upper = pinball(y - (centre + p.above), 0.95)
    interval = _mean(lower + upper, batch.brain + 0.02)

    gate = gate_loss(p, batch)
    total = (
        w.gate * gate
        + w.error * error
        + w.ssim * ssim
        + w.haar * haar
        + w.base * base
        + w.quality * quality
        + w.interval * interval
    )
    parts = {
        "error": error,
        "ssim": ssim,
        "haar": haar,
        "base": base,
        "quality": quality,
        "interval": interval,
        "gate": gate,
    }
    return total, {k: float(v.detach()) for k, v in parts.items()}
