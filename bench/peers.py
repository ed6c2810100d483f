"""Networks to compare with: nine channels (three slices of three sources) to one."""

from __future__ import annotations

from torch import nn

CHANNELS = 9


def plain_unet(width: int) -> nn.Module:
    """A U-Net whose first level has `width` channels."""
    from training.peers import PlainUNet

    return PlainUNet(CHANNELS, 1, width)


def dyn_unet(width: int) -> nn.Module:
    """MONAI's DynUNet (the network of nnU-Net) in two dimensions."""
    from training.peers import dyn_unet as dynamic

    return dynamic(CHANNELS, 1, width)
