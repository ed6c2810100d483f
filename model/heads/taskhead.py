"""TaskHeadNet (paper section 2.5, equations 8 and 9): one shared encoder, three structurally different heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import ConvBlock, each_target, meet, start_at, together

#: Residual to the sources, direct regression, Haar sub-bands.
HEADS = ("residual", "direct", "haar")
#: Channels at half resolution: as wide as the FLOP budget of `nano` allows.
MIDDLE = 28
#: Channels at full resolution, and the most that a block makes of them on its way.
FULL = 16
WIDEST = 2 * FULL


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """For B slices and N targets: `images` (B, N, 3, H, W), what the half-widths are made of, `widths` (B, N, 2, H, W),
    the shared representation (B*N, D, h, w) and its pooled form (B, N, D)."""

    images: Tensor
    widths: Tensor
    shared: Tensor
    pooled: Tensor

    def interval(self) -> tuple[Tensor, Tensor]:
        """Half-widths of the interval below and above the image, (B, N, H, W) each, positive."""
        below, above = F.softplus(self.widths).unbind(dim=2)
        return below, above


def inverse_haar(bands: Tensor) -> Tensor:
    """(B, 4, h, w) LL, LH, HL, HH -> (B, 1, 2h, 2w), orthonormal."""
    ll, lh, hl, hh = bands.chunk(4, dim=1)
    a, b = (ll + lh + hl + hh) / 2, (ll - lh + hl - hh) / 2
    c, d = (ll + lh - hl - hh) / 2, (ll - lh - hl + hh) / 2
    return F.pixel_shuffle(torch.cat([a, b, c, d], dim=1), 2)


class TaskHeadNet(nn.Module):
    """SharedEnc, a decoder to full resolution that meets the detail path, and the heads.

    Full resolution carries 16 channels and no dense 3x3 convolution: those would dominate the whole network's cost.
    """

    def __init__(self, width: int, embed: int, fine: int, half: int, site: int = 0) -> None:
        super().__init__()
        self.shared = nn.ModuleList(ConvBlock(width, condition=embed, site=site) for _ in range(2))
        self.to_half = nn.Conv2d(width, MIDDLE, 1)
        self.meet_half = nn.Conv2d(MIDDLE + half, MIDDLE, 1)
        self.half_block = ConvBlock(MIDDLE, condition=embed, site=site)
        self.to_full = nn.Conv2d(MIDDLE, FULL, 1)
        self.meet_full = nn.Conv2d(FULL + fine, FULL, 1)
        self.full_block = ConvBlock(FULL, condition=embed, site=site, pointwise=False)
        self.residual = nn.Conv2d(FULL, 3, 1)
        self.direct = nn.Conv2d(FULL, 1, 3, padding=1)
        self.haar = nn.Conv2d(FULL, 4, 3, padding=1)
        self.widths = nn.Conv2d(FULL, 2, 1)
        # The mix of sources starts closed: head 1 begins as a constant and opens where a source helps.
        start_at(self.residual, (0.0, 0.0, 0.4), zero_weight=True)
        start_at(self.direct, 0.4)
        start_at(self.haar, (0.8, 0.0, 0.0, 0.0))
        start_at(self.widths, -2.0)

    def forward(
        self,
        fused: Tensor,
        fine: Tensor,
        half: Tensor,
        key: Tensor,
        mix: Tensor,
        target: Tensor,
        site: Tensor | None = None,
    ) -> Candidates:
        """Decode every (slice, target).

        Args:
            fused: (B, N, D, h, w).
            fine: (B, N, C1, H, W), half: (B, N, C2, H/2, W/2); or (B, 1, ...) where all targets share them.
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
        middle = self.half_block(meet(self.meet_half, self.to_half(x), half.flatten(0, 1)), condition, site)
        low = self.to_full(middle)
        x = self.full_block(meet(self.meet_full, low, fine.flatten(0, 1)), condition, site)
        # The 1x1 convolutions of the first head and of the interval read the image once.
        gain, widths = together(x, self.residual, self.widths)
        first = gain[:, 0:1] * key.flatten(0, 1) + gain[:, 1:2] * mix.flatten(0, 1) + gain[:, 2:3]
        images = torch.cat([first, self.direct(x), inverse_haar(self.haar(low))], dim=1)
        return Candidates(
            images=images.unflatten(0, (batch, count)),
            widths=widths.unflatten(0, (batch, count)),
            shared=shared,
            pooled=shared.mean(dim=(2, 3)).unflatten(0, (batch, count)),
        )
