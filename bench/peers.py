"""Networks to compare with: nine channels (three slices of three sources) to one."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

CHANNELS = 9


class PlainUNet(nn.Module):
    """Four levels of two 3x3 convolutions, as everybody writes it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(_two(a, b) for a, b in zip([CHANNELS, *widths], widths, strict=False))
        self.up = nn.ModuleList(_two(b + a, a) for a, b in pairwise(widths))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for block in self.down[:-1]:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.down[-1](x)
        for block, skip in zip(reversed(self.up), reversed(kept), strict=True):
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return torch.as_tensor(self.out(x))


def _two(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [nn.Conv2d(before, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)


def plain_unet(width: int) -> nn.Module:
    """A U-Net whose first level has `width` channels."""
    return PlainUNet(width)


def dyn_unet(width: int) -> nn.Module:
    """MONAI's DynUNet (the network of nnU-Net) in two dimensions."""
    from monai.networks.nets import DynUNet

    levels = 5
    return DynUNet(
        spatial_dims=2,
        in_channels=CHANNELS,
        out_channels=1,
        kernel_size=[3] * levels,
        strides=[1, *[2] * (levels - 1)],
        upsample_kernel_size=[2] * (levels - 1),
        filters=[min(width * 2**level, 320) for level in range(levels)],
    )
