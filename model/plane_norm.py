"""Instance norm under a modulation, with a backward pass of its own where a CPU learns."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

EPS = 1e-5


class PlaneNorm(nn.Module):
    """Instance norm: each channel of each slice with mean 0 and variance 1 over its pixels, (B, C, h, w).

    What differs between scanners as a gain and an offset is gone behind it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """Under a modulation (M, C), M = B or 1: (1 + gamma) * norm + beta."""
        gain, offset = self.weight[None], self.bias[None]
        if gamma is not None and beta is not None:
            gain, offset = gain * (1 + gamma), offset * (1 + gamma) + beta
        # Groups of one channel: on channels-last data a twelfth of the time of var_mean or instance_norm.
        groups = x.shape[1]
        if not torch.is_grad_enabled():
            if gain.shape[0] == 1:
                return F.group_norm(x, groups, gain[0], offset[0], EPS).to(x.dtype)
        elif x.device.type == "cpu" and not torch.compiler.is_compiling():
            return torch.as_tensor(_Standardised.apply(x, gain, offset))  # type: ignore[no-untyped-call]
        y = F.group_norm(x.float(), groups, eps=EPS)
        return offset[:, :, None, None].addcmul(y, gain[:, :, None, None]).to(x.dtype)


class _Standardised(torch.autograd.Function):
    """gain * (x - mean) / deviation + offset; x (B, C, h, w), gain and offset (M, C), M = B or 1.

    The backward pass of PyTorch's group_norm (2.13) on a CPU takes three times as long in fp32, and five times that in
    bf16 (decision 0039); and it ends the process where the weights' gradient is asked for and that of channels-last
    data is not (new rows alone are trained).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        y, _, scale = torch.native_group_norm(x, None, None, batch, channels, height * width, channels, EPS)
        ctx.save_for_backward(y, scale, gain)
        return offset.to(x.dtype)[:, :, None, None].addcmul(y, gain.to(x.dtype)[:, :, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, scale, gain = ctx.saved_tensors
        batch, channels, height, width = y.shape
        g, v = (t.permute(0, 2, 3, 1).reshape(batch, -1, channels) for t in (grads[0], y))
        # Sums over the pixels as products with ones: along the rows of channels-last data, in one pass.
        ones = g.new_ones(batch, 1, height * width)
        offsets, gains = ones @ g, ones @ (g * v)  # (B, 1, C)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (g - offsets / (height * width)).addcmul_(v, gains / (height * width), value=-1)
            dx.mul_(scale.view(batch, 1, channels) * gain.to(dx.dtype)[:, None])
            dx = dx.view(batch, height, width, channels).permute(0, 3, 1, 2)
        sums = (total[:, 0].to(gain.dtype).sum_to_size(gain.shape) for total in (gains, offsets))
        return dx, *sums
