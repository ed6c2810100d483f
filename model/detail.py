"""The detail path: what stride 4 has lost of a source, at half resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import on_blocks
from model.plane_norm import PlaneNorm


class DetailNet(nn.Module):
    """Blocks of 2x2 pixels of the three slices to channels, and one 3x3 convolution over them.

    The source's label sets gain and offset of every channel, so that sources can keep channels of their own: the blend
    of equation 8 has one weight for all channels of a source, and behind it T1's edges could not be told from T2's.
    """

    def __init__(self, channels: int, embed: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(12, channels, 3, padding=1, bias=False)
        self.norm = PlaneNorm(channels)
        self.label = nn.Linear(embed, 2 * channels)
        nn.init.normal_(self.label.weight, std=0.1)  # contrasts differ from the start
        nn.init.zeros_(self.label.bias)

    def forward(self, images: Tensor, label: Tensor) -> tuple[Tensor, ...]:
        """Slices (K, B, 3, H, W) with the embeddings (K, E) of their contrasts -> K maps (B, C, H/2, W/2).

        A map of each source, not one tensor of all: what reads them takes one source at a time, channels last.
        """
        gain, offset = self.label(label).chunk(2, dim=1)
        return tuple(
            F.gelu(self.norm(on_blocks(planes, self.conv, 2), gain[k : k + 1], offset[k : k + 1]))
            for k, planes in enumerate(images)
        )
