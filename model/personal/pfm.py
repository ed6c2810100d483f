"""PFM, personalised feature modulation (PMM-Synth, equations 1 to 3): what a site's images look like.

Equation 1 makes one code of a site's number; every convolution block behind the encoder turns it into gain and offset
(`ConvBlock`, equations 2 and 3). Site 0 is "unknown": trained by forgetting the site of a part of the samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.layers import mlp

#: Width of the code D_emb.
SITE_WIDTH = 16
UNKNOWN = "unknown"


def sinusoid(sites: int, width: int = SITE_WIDTH) -> Tensor:
    """sin(n) of equation 1: (sites, width), sines and cosines of n at octave frequencies."""
    n = torch.arange(sites, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(100.0) / width))
    return torch.cat([torch.sin(n * frequency), torch.cos(n * frequency)], dim=1)


class SiteCode(nn.Module):
    """D_emb = MLP(sin(n)) + a row of its own for each site.

    The row is what a new site trains: the MLP is shared, so training it would change what other sites get.
    """

    encoding: Tensor

    def __init__(self, sites: int) -> None:
        super().__init__()
        self.register_buffer("encoding", sinusoid(sites), persistent=False)
        self.mlp = mlp(SITE_WIDTH, 32, SITE_WIDTH)
        self.rows = nn.Embedding(sites, SITE_WIDTH)
        nn.init.zeros_(self.rows.weight)

    def forward(self, site: Tensor) -> Tensor:
        """(B,) site numbers -> (B, SITE_WIDTH)."""
        return self.mlp(self.encoding[site]) + self.rows(site)
