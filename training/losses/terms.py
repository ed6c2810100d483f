"""The training loss: error, structure, wavelet detail, quality regression and interval, inside the brain first.

Every term is a sum over slices and pixels divided by the weight of the whole step (`Totals`), so that the parts of a
batch, on one machine or many, add up to exactly the gradient of the batch in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

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
    rec: float = 0.0  # PMM-Synth's equation 7; the paper gives it 30 where synthesis has 100
    adversarial: float = (
        0.0  # LSGAN, PMM-Synth's equations 8 and 9; off: it makes detail that no source shows
    )


def charbonnier(error: Tensor, knee: float = 0.1) -> Tensor:
    """Quadratic below the knee, linear above: a mean where the level is uncertain, robust at vessels and edges."""
    return torch.sqrt(error.square() + knee * knee) - knee


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What each mean divides by: scalars over all slices that a step learns from.

    Attributes:
        slices: how many; heads: (slice, target) pairs with a truth, times three heads.
        weight, inside, bands, patches, interval, source: sums of the pixel weights, as each term spreads them.
        pairs: (slice, pair) whose global weight has a wanted value.
    """

    slices: Tensor
    heads: Tensor
    weight: Tensor
    inside: Tensor
    bands: Tensor
    patches: Tensor
    interval: Tensor
    source: Tensor
    pairs: Tensor

    def stacked(self) -> Tensor:
        """All of them, (9,), to be averaged over machines."""
        return torch.stack([getattr(self, f.name) for f in fields(self)])

    @classmethod
    def unstacked(cls, values: Tensor) -> Totals:
        """What `stacked` gave."""
        return cls(**dict(zip([f.name for f in fields(cls)], values.unbind(), strict=True)))


@dataclass(frozen=True, kw_only=True)
class _Masks:
    """Pixel weights of a batch, zero where a target has no truth (PMM-Synth, equation 6); Q is 1 or N."""

    weight: Tensor  # (B, Q, H, W)
    inside: Tensor  # (B, Q, H, W)
    bands: Tensor  # (B, 3Q, H/2, W/2), or (B, 1, ..)
    patches: Tensor  # (B, Q, 1, 1, h, w)
    interval: Tensor  # (B, Q, H, W)
    source: Tensor  # (B, 1, H, W)


def _masks(batch: Batch, w: Weights) -> _Masks:
    whole = batch.brain + w.outside * (1 - batch.brain) + w.lesion * batch.lesion * batch.brain
    weight, inside, interval = whole, batch.brain, batch.brain + 0.02
    bands, patches = F.avg_pool2d(weight, 2), F.avg_pool2d(batch.brain, 4)[:, :, None, None]
    if batch.present is not None:
        there = batch.present.to(weight.dtype)[:, :, None, None]
        weight, inside, interval = weight * there, inside * there, interval * there
        bands, patches = (bands * there).repeat(1, 3, 1, 1), patches * there[..., None, None]
    return _Masks(weight=weight, inside=inside, bands=bands, patches=patches, interval=interval, source=whole)


def totals(batch: Batch, w: Weights, keys: Sequence[int]) -> Totals:
    """The divisors of a batch that goes through in one piece, or of all its parts.

    Args:
        keys: position of each target's key among the sources.
    """
    m, y = _masks(batch, w), batch.y
    size, n = y.shape[:2]
    half, quarter = (y.shape[-2] // 2, y.shape[-1] // 2), (y.shape[-2] // 4, y.shape[-1] // 4)
    known = [_known(batch, i, j).sum() for j in range(n) for i in range(len(batch.sources)) if i != keys[j]]
    present = torch.full((), size * n) if batch.present is None else batch.present.sum()
    scalars = (
        torch.full((), size),
        3 * present,
        m.weight.expand_as(y).sum(),
        m.inside.expand_as(y).sum(),
        m.bands.expand(-1, 3 * n, *half).sum(),
        m.patches.expand(-1, n, 4, 2, *quarter).sum(),
        m.interval.expand_as(y).sum(),
        m.source.sum(),
        torch.stack(known).sum() if known else torch.zeros(()),
    )
    return Totals.unstacked(torch.stack([v.to(y) for v in scalars]))


def _mean(values: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    return (values * weight).sum() / total.clamp_min(1.0)


def _window(length: int, sigma: float, size: int, like: Tensor) -> Tensor:
    """Gaussian blur along an axis of this length, zero outside, as a matrix (length, length)."""
    line = torch.exp(-0.5 * ((torch.arange(size, device=like.device) - size // 2) / sigma) ** 2)
    line = F.pad(line / line.sum(), (length - 1, length - 1))
    centre = length - 1 + size // 2
    place = torch.arange(length, device=like.device)
    return line[centre + place[:, None] - place].to(like.dtype)


def ssim_map(a: Tensor, b: Tensor, sigma: float = 1.5, size: int = 7, every: int = 1) -> Tensor:
    """Structural similarity at each pixel, (..., H, W) in 0..1 data range, Gaussian window.

    Leading axes are broadcast: one truth beside several candidates is blurred once. The window is a matrix, because
    a product of matrices is several times as fast as a convolution of each channel for itself.

    Args:
        every: only every so many rows and columns, (..., H/every, W/every).
    """
    height, width = (_window(length, sigma, size, a) for length in a.shape[-2:])
    height, width = height[::every], width[:, ::every].contiguous()

    def blur(x: Tensor) -> Tensor:
        return height @ (x @ width)

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


def _known(batch: Batch, i: int, j: int) -> Tensor:
    """(B,) bool: slices of which it is known what source i was worth for target j."""
    spoilt = batch.spoilt[:, i]
    known = spoilt if len(batch.sources) > 2 else torch.ones_like(spoilt)
    return known if batch.present is None else known & (batch.present[:, j] | spoilt)


def gate_loss(p: Prediction, batch: Batch, pairs: Tensor | None = None) -> Tensor:
    """The quality gain guides PreWeightNet (paper section 2.5): w_global of a pair follows what the source was worth.

    With one auxiliary source its gain over the key alone is measured slice by slice. A spoilt source is known to be
    worth nothing, whatever the number of sources. `pairs` is `Totals.pairs`; without it the batch is the whole.
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
            known = _known(batch, i, j)
        each = F.binary_cross_entropy(p.w_global[:, column], wanted, reduction="none")
        total, count = total + (each * known).sum(), count + int(known.sum())
    return total / (max(1, count) if pairs is None else pairs.clamp_min(1.0))


def total_loss(
    p: Prediction, batch: Batch, w: Weights, whole: Totals | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The sum, and its parts for the log.

    A target that a slice has no truth of (`Batch.present`) takes no part in any term: selective supervision.

    Args:
        whole: divisors of the step that this batch is a part of; without it the batch is the whole.
    """
    y, m = batch.y, _masks(batch, w)
    if whole is None:
        whole = totals(batch, w, _keys_of(p, len(batch.sources), y.shape[1]))
    part = y.shape[0] / whole.slices
    mean = p.images.mean(dim=2)
    each = charbonnier(p.images - y[:, :, None])  # (B, N, 3, H, W)
    per_head = (each * m.weight[:, :, None]).mean(dim=(-1, -2)) / m.weight.mean(dim=(-1, -2))[
        :, :, None
    ].clamp_min(1e-3)
    share = 1 - w.each_head - w.best_head
    error = share * _mean(charbonnier(mean - y), m.weight, whole.weight)
    error = error + w.each_head * (per_head.sum() / whole.heads.clamp_min(1.0))
    error = error + w.best_head * (3 * per_head.min(dim=2).values.sum() / whole.heads.clamp_min(1.0))
    inside = batch.brain.expand_as(y)
    structure = ssim_map(mean.clamp(0, 1.2) * inside, y.clamp(0, 1.2) * inside)
    ssim = part - _mean(structure, m.inside, whole.inside)
    haar = _mean((_haar(mean) - _haar(y)).abs(), m.bands, whole.bands)
    base = _mean(charbonnier(p.base.squeeze(2) - y), m.weight, whole.weight)

    with torch.no_grad():
        candidates, truth = torch.cat([p.images, p.base], dim=2), y[:, :, None]
        l1 = F.avg_pool2d((candidates - truth).abs().flatten(1, 2), 4)
        # Neighbours share most of their window: every second row and column gives the mean of a patch as well.
        alike = ssim_map(candidates.clamp(0, 1.2), truth.clamp(0, 1.2), every=2)
        dissimilar = F.avg_pool2d(1 - alike.flatten(1, 2), 2)
        wanted = torch.stack([l1, dissimilar], dim=2).unflatten(1, candidates.shape[1:3])
    said = torch.cat([p.errors, p.base_errors], dim=2)
    scale = torch.tensor([1.0, 0.2], device=y.device)[:, None, None]
    quality = _mean((said - wanted).abs() * scale, m.patches, whole.patches)

    centre = mean.detach()
    lower = pinball(y - (centre - p.below), 0.05)
    upper = pinball(y - (centre + p.above), 0.95)
    interval = _mean(lower + upper, m.interval, whole.interval)

    gate = gate_loss(p, batch, whole.pairs)
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


def _keys_of(p: Prediction, sources: int, targets: int) -> list[int]:
    """The key of each target: the source that makes no pair with it."""
    return [next(i for i in range(sources) if (i, j) not in p.pairs) for j in range(targets)]


def reconstruction_loss(rebuilt: Tensor, centre: Tensor, batch: Batch, w: Weights, whole: Totals) -> Tensor:
    """L_rec (PMM-Synth, equation 7): a source goes through the network as its own target.

    Args:
        rebuilt: (B, 1, 3, H, W) candidates; centre: (B, 1, H, W) the source itself.
    """
    return _mean((rebuilt.mean(dim=2) - centre).abs(), _masks(batch, w).source, whole.source)
