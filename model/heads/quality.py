"""QualityFeedback (equation 10): what error a candidate probably has, without the truth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.layers import ConvBlock, Pointwise, each_target, on_blocks, start_at


class QualityFeedback(nn.Module):
    """Regresses, patch by patch, the L1 error and 1-SSIM of a candidate.

    It sees detached tensors only: it judges the image, and cannot make the image easier to judge.
    """

    def __init__(self, width: int, embed: int, hidden: int = 24) -> None:
        super().__init__()
        self.features = Pointwise(width, hidden)
        self.image = Pointwise(16, hidden)
        self.reference = Pointwise(16, hidden)
        self.block = ConvBlock(hidden, condition=embed, pointwise=False)
        self.out = Pointwise(hidden, 2)
        start_at(self.out, -2.0)

    def forward(self, candidates: Tensor, shared: Tensor, key: Tensor, target: Tensor) -> Tensor:
        """Expected error maps.

        Args:
            candidates: (B, N, J, H, W); shared: (B*N, D, h, w); key: (B, N, 1, H, W); target: (N, E).

        Returns:
            (B, N, J, 2, h, w), non-negative: mean absolute error, 1 - SSIM, in 4x4 patches.
        """
        batch, count, heads = candidates.shape[:3]
        context = self.features(shared.detach()) + on_blocks(key.detach().flatten(0, 1), self.reference, 4)
        images = candidates.detach().reshape(-1, 1, *candidates.shape[-2:])
        x = on_blocks(images, self.image, 4)
        x = x.unflatten(0, (-1, heads)).add_(context[:, None]).flatten(0, 1)
        condition = each_target(target, batch)
        if count > 1:
            condition = condition.repeat_interleave(heads, dim=0)
        errors = F.softplus(self.out(self.block(x, condition)))
        return errors.unflatten(0, (batch, count, heads))


def error_score(errors: Tensor) -> Tensor:
    """One number per pixel from the two error maps, (..., 2, h, w) -> (..., h, w): L1 plus a tenth of 1-SSIM."""
    return errors[..., 0, :, :] + 0.1 * errors[..., 1, :, :]


def volume_score(errors: Tensor, weight: Tensor) -> Tensor:
    """Mean error score over the in-mask patches of a volume.

    Args:
        errors: (S, N, J, 2, h, w); weight: (S, h, w) fraction of each patch inside the brain.

    Returns:
        (N, J); lower is better.
    """
    score = error_score(errors) * weight[:, None, None]
    return torch.as_tensor(score.sum(dim=(0, 3, 4)) / weight.sum().clamp_min(1e-6))
