"""MultiScaleNet (paper section 2.1): bottom-up pyramid, then a bidirectional state-space scan along a spiral."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.layers import ChannelNorm, ConvBlock, DenseBlock, Pointwise, upsample
from model.scan.fermat import fermat_order
from model.scan.mamba import Mamba2


class SpiralBlock(nn.Module):
    """Convolution block, then Mamba-2 along the Fermat spiral, outward and inward, (B, D, h, w) -> same."""

    def __init__(self, width: int, site: int = 0) -> None:
        super().__init__()
        self.conv = ConvBlock(width, site=site)
        self.norm = ChannelNorm(width)
        self.outward = Mamba2(width)
        self.inward = Mamba2(width)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.2))

    def forward(self, x: Tensor, site: Tensor | None = None) -> Tensor:
        x = self.conv(x, site=site)
        batch, width, height, length = x.shape
        order = torch.from_numpy(fermat_order(height, length)).to(x.device)
        rows = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)  # (B, h*w, D)
        mixed = sum(
            mixer(rows.index_select(1, path)).index_select(1, torch.argsort(path))
            for mixer, path in (
                (self.outward, order),
                (self.inward, order.flip(0)),
            )  # centre first, centre last
        )
        mixed = torch.as_tensor(mixed).transpose(1, 2).reshape(batch, width, height, length)
        return torch.addcmul(x, self.scale, mixed)


class Halving(nn.Conv2d):
    """Each channel for itself, 3x3 pixels, to half the size: (B, D, h, w) -> (B, D, h/2, w/2)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, stride=2, padding=1, groups=width)

    def forward(self, input: Tensor) -> Tensor:  # torch's own name of the argument
        if input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):  # its backward pass takes 24 times as long in bf16
            return super().forward(input.float())


class MultiScaleNet(nn.Module):
    """Encoder levels at strides 4, 8, 16, 32, each of `neck` channels -> F of `width` channels at stride 4."""

    def __init__(self, width: int, site: int = 0, neck: int | None = None) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(Pointwise(neck or width, width) for _ in range(4))
        self.down = nn.ModuleList(Halving(width) for _ in range(3))
        self.fine = DenseBlock(width, width // 2, site=site)
        self.spirals = nn.ModuleList(SpiralBlock(width, site) for _ in range(3))
        self.merge = nn.ModuleList(Pointwise(width, width) for _ in range(3))
        self.out = DenseBlock(width, width // 2, site=site)

    def forward(self, levels: list[Tensor], shift: Tensor, site: Tensor | None = None) -> Tensor:
        """Levels (B, neck, ...), each shifted by (B, neck), and site codes (B, S) or (1, S) -> (B, D, h, w)."""
        laterals = [
            conv(level).add_(
                nn.functional.linear(shift, torch.as_tensor(conv.weight).flatten(1))[:, :, None, None]
            )
            for conv, level in zip(self.laterals, levels, strict=True)
        ]
        fine = self.fine(laterals[0], site=site)
        x, scanned = fine, []
        for lateral, down, spiral in zip(laterals[1:], self.down, self.spirals, strict=True):
            x = spiral(lateral + down(x), site)
            scanned.append(x)
        # Coarse to fine again, so that every scale reaches the map that the fusion reads.
        y = scanned[2]
        for finer, merge in zip((scanned[1], scanned[0], fine), self.merge, strict=True):
            y = upsample(merge(y)).add_(finer)
        return torch.as_tensor(self.out(y, site=site))
