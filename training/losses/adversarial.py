"""LSGAN with one discriminator a contrast (PMM-Synth, equations 8 and 9), selective: without truth no verdict.

Off in the weights that are shipped: an adversary rewards detail that looks real, whether or not a source shows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Discriminators(nn.Module):
    """For each contrast of the network's table a small judge of 16-pixel patches: real 1, synthetic 0."""

    def __init__(self, contrasts: int, width: int = 16) -> None:
        super().__init__()
        self.each = nn.ModuleList(_judge(width) for _ in range(contrasts))

    def forward(self, images: Tensor, targets: Sequence[int]) -> Tensor:
        """(B, N, H, W) images of the contrasts `targets` -> (B, N, H/8, W/8), no bound."""
        return torch.cat([self.each[j](images[:, k : k + 1]) for k, j in enumerate(targets)], dim=1)


def _judge(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 3, padding=1),
    )


def generator_loss(verdict: Tensor, present: Tensor | None = None, total: Tensor | None = None) -> Tensor:
    """L_adv (equation 8), mean over slices and targets with a truth: the verdict on a synthetic image should be 1.

    Args:
        verdict: (B, N, h, w) on synthetic images; present: (B, N) bool, None where every target has a truth.
        total: slices and targets with a truth in the step that this is a part of; without it this is the whole.
    """
    return _selected((verdict - 1).square(), present, total)


def discriminator_loss(synthetic: Tensor, real: Tensor, present: Tensor | None = None) -> Tensor:
    """L_D (equation 9): 0 on synthetic images, 1 on real ones, both (B, N, h, w)."""
    return _selected(synthetic.square() + (real - 1).square(), present)


def _selected(values: Tensor, present: Tensor | None, total: Tensor | None = None) -> Tensor:
    weight = values.new_ones(values.shape[:2]) if present is None else present.to(values.dtype)
    count = (weight.sum() if total is None else total).clamp_min(1.0)
    return (values.mean(dim=(2, 3)) * weight).sum() / count
