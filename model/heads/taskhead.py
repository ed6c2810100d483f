"""TaskHeadNet (paper section 2.5, equations 8 and 9): one shared encoder, three structurally different heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import DenseBlock, Pointwise, beside, each_target, meet, start_at, upsample

#: Residual to the sources, direct regression, Haar sub-bands.
HEADS = ("residual", "direct", "haar")


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """For B slices and N targets: `images` (B, N, 3, H, W), what the half-widths are made of, `widths`
    (B, N, 2, H/2, W/2), the shared representation (B*N, D, h, w) and its pooled form (B, N, D)."""

    images: Tensor
    widths: Tensor
    shared: Tensor
    pooled: Tensor

    def interval(self) -> tuple[Tensor, Tensor]:
        """Half-widths of the interval below and above the image, (B, N, H, W) each, positive."""
        widths = upsample(F.softplus(self.widths).flatten(0, 1)).unflatten(0, self.widths.shape[:2])
        below, above = widths.unbind(dim=2)
        return below, above


def inverse_haar(bands: Tensor) -> Tensor:
    """(B, 4, h, w) LL, LH, HL, HH -> (B, 4, h, w), the pixels of each 2x2 block row by row, orthonormal."""
    ll, lh, hl, hh = bands.chunk(4, dim=1)
    a, b = (ll + lh + hl + hh) / 2, (ll - lh + hl - hh) / 2
    c, d = (ll + lh - hl - hh) / 2, (ll - lh - hl + hh) / 2
    return torch.cat([a, b, c, d], dim=1)


class TaskHeadNet(nn.Module):
    """SharedEnc, a decoder to half resolution that meets the detail path, and the heads.

    Nothing is computed at full resolution: each place at half resolution gives its 2x2 pixels as channels (sub-pixel
    convolution, arXiv 1609.05158). On a CPU the same operations take half the time there.
    """

    def __init__(self, width: int, embed: int, detail: int, site: int = 0) -> None:
        super().__init__()
        middle = width // 2  # channels at half resolution: as wide as the FLOP budget allows
        self.shared = nn.ModuleList(
            DenseBlock(width, width // 2, condition=embed, site=site) for _ in range(2)
        )
        self.meet = Pointwise(width + detail, middle)
        self.block = DenseBlock(middle, middle, condition=embed, site=site)
        self.residual = nn.Conv2d(middle, 2 + 4, 3, padding=1)
        self.direct = nn.Conv2d(middle, 4, 3, padding=1)
        self.haar = nn.Conv2d(middle, 4, 3, padding=1)
        self.widths = nn.Conv2d(middle, 2, 3, padding=1)
        # The mix of sources starts closed: head 1 begins as a constant and opens where a source helps.
        start_at(self.residual, (0.0, 0.0, 0.4, 0.4, 0.4, 0.4), zero_weight=True)
        start_at(self.direct, 0.4)
        start_at(self.haar, (0.8, 0.0, 0.0, 0.0))
        start_at(self.widths, -2.0)

    def forward(
        self,
        fused: Tensor,
        detail: Tensor,
        key: Tensor,
        mix: Tensor,
        target: Tensor,
        site: Tensor | None = None,
    ) -> Candidates:
        """Decode every (slice, target).

        Args:
            fused: (B, N, D, h, w).
            detail: (B, N, C, H/2, W/2), or (B, 1, ...) where all targets share it.
            key, mix: (B, N, 1, H, W) the key image and the weighted mean of all source images.
            target: (N, E) embeddings; site: (B, S) codes, or (1, S) for all slices.
        """
        batch, count = fused.shape[:2]
        if site is not None and len(site) > 1:
            site = site.repeat_interleave(count, dim=0)
        condition = each_target(target, batch)
        x = fused.flatten(0, 1)
        for block in self.shared:
            x = block(x, condition, site)
        shared = x
        met = meet(self.meet, x, detail.flatten(0, 1))
        x = self.block(met, condition, site)
        mix_of, direct, widths = beside(x, self.residual, self.direct, self.widths)
        gain = upsample(mix_of[:, :2]).to(key.dtype)
        # The third head leaves the decoder a block earlier.
        pixels = torch.cat([mix_of[:, 2:], direct, inverse_haar(*beside(met, self.haar))], dim=1).to(
            key.dtype
        )
        images = F.pixel_shuffle(pixels, 2)
        images[:, :1].addcmul_(gain[:, 0:1], key.flatten(0, 1)).addcmul_(gain[:, 1:2], mix.flatten(0, 1))
        return Candidates(
            images=images.unflatten(0, (batch, count)),
            widths=widths.unflatten(0, (batch, count)),
            shared=shared,
            pooled=shared.mean(dim=(2, 3)).unflatten(0, (batch, count)),
        )
