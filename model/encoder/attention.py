"""Attention inside small windows, computed as the matrix products that it is.

PyTorch's fused attention on a CPU works through one window at a time; Hiera has over a thousand of 4 to 64 tokens in a
slice, where two batched products and a softmax take half the time. Longer sequences keep the fused kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import MultiScaleAttention, do_pool
from torch import Tensor, nn

#: Keys up to which a CPU attends by plain products.
SMALL = 64


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v; q (B, heads, M, d), k and v (B, heads, L, d) -> (B, heads, M, d)."""
    if q.device.type == "cpu" and k.shape[2] > SMALL and q.dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):  # the fused kernel takes twice as long in bf16 as in fp32
            return F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)
    if q.device.type != "cpu" or k.shape[2] > SMALL:
        return F.scaled_dot_product_attention(q, k, v)
    rows, columns, values = (x.flatten(0, 1) for x in (q * q.shape[-1] ** -0.5, k, v))
    return (torch.softmax(rows @ columns.transpose(1, 2), dim=-1) @ values).unflatten(0, q.shape[:2])


class Attention(MultiScaleAttention):  # type: ignore[misc]
    """SAM 2's attention, parameters and all, through `attend`."""

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1).unbind(2)
        if self.q_pool:
            pooled = do_pool(q.reshape(batch, height, width, -1), self.q_pool)
            height, width = pooled.shape[1:3]
            q = pooled.reshape(batch, height * width, self.num_heads, -1)
        y = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return torch.as_tensor(self.proj(y.transpose(1, 2).reshape(batch, height, width, -1)))


def attend_in_windows(trunk: nn.Module) -> None:
    """Every attention of a Hiera goes through `attend` from now on; parameters and their names stay."""
    for module in trunk.modules():
        if type(module) is MultiScaleAttention:
            module.__class__ = Attention
