"""The level of a target: how bright it is against its own 99.5th percentile.

A target's histogram is a property of the whole volume and of its protocol, which a slice does not show. This small
network reads the sources' histograms inside the brain and the site's code, and states a gain and an offset for each
target.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.imaging.normalise import QUANTILES
from model.layers import mlp, start_at

#: Histogram, slice spacing (in 5 mm), skull removed (0 or 1).
LEVEL_FEATURES = len(QUANTILES) + 2


class LevelNet(nn.Module):
    """Histograms of any set of sources -> (gain, offset) of each target."""

    def __init__(self, embed: int, hidden: int = 32, site: int = 0) -> None:
        super().__init__()
        self.each = mlp(LEVEL_FEATURES + embed, hidden, hidden)
        self.out = mlp(hidden + embed, hidden, 2)
        start_at(self.out[2], 0.0, zero_weight=True)
        self.site = nn.Linear(site, hidden, bias=False) if site else None
        if self.site is not None:
            nn.init.zeros_(self.site.weight)

    def forward(
        self, features: Tensor, source: Tensor, target: Tensor, site: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features (B, K, LEVEL_FEATURES), embeddings (K, E), (N, E), site codes (B, S) -> gain, offset (B, N)."""
        batch = features.shape[0]
        labels = source[None].expand(batch, -1, -1)
        pooled = self.each(torch.cat([features, labels], dim=-1)).mean(dim=1)  # (B, hidden), order-free
        if self.site is not None and site is not None:
            pooled = pooled + self.site(site)
        wanted = target[None].expand(batch, -1, -1)
        both = torch.cat([pooled[:, None].expand(-1, target.shape[0], -1), wanted], dim=-1)
        gain, offset = self.out(both).unbind(-1)
        return torch.exp(0.5 * torch.tanh(gain)), 0.3 * torch.tanh(offset)
