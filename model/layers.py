"""The convolution block that the pyramid, the fusion and the heads share.

Axis letters in this package: B slices, K sources, N targets, P = N (K-1) pairs, D width, H W image size,
h w = H/4 W/4 feature size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm over channels at each pixel, (B, C, h, w), with an optional per-sample gain and offset (FiLM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        # One fused kernel on channels-last data; the permutes are views there.
        x = nn.functional.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, 1e-5)
        x = x.permute(0, 3, 1, 2)
        if gamma is not None and beta is not None:
            x = x * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]
        return x


class ConvBlock(nn.Module):
    """Residual block: norm, expand, depthwise 3x3, gate, project; then (`pointwise`) a gated MLP.

    `condition` (B, E), for instance a target's embedding, modulates both norms; so does `site` (B, S), the code of
    where the images come from (PMM-Synth, equations 2 and 3). Both start without effect.
    """

    def __init__(
        self, channels: int, condition: int = 0, site: int = 0, expand: int = 2, pointwise: bool = True
    ) -> None:
        super().__init__()
        wide = channels * expand
        self.norm1 = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, wide, 1)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.project = nn.Conv2d(wide // 2, channels, 1)
        self.scale1 = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))
        self.pointwise = pointwise
        if pointwise:
            self.norm2 = ChannelNorm(channels)
            self.mlp_in = nn.Conv2d(channels, wide, 1)
            self.mlp_out = nn.Conv2d(wide // 2, channels, 1)
            self.scale2 = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))
        outputs = (4 if pointwise else 2) * channels
        self.film = _closed(condition, outputs)
        self.site = _closed(site, outputs)

    def forward(self, x: Tensor, condition: Tensor | None = None, site: Tensor | None = None) -> Tensor:
        g1 = b1 = g2 = b2 = None
        parts = [
            layer(code)
            for layer, code in ((self.film, condition), (self.site, site))
            if layer and code is not None
        ]
        if parts:
            modulation = sum(parts[1:], parts[0]).chunk(4 if self.pointwise else 2, dim=1)
            g1, b1 = modulation[:2]
            g2, b2 = modulation[-2:]
        y = self.depthwise(self.expand(self.norm1(x, g1, b1)))
        a, b = y.chunk(2, dim=1)
        x = x + self.scale1 * self.project(a * torch.nn.functional.silu(b))
        if not self.pointwise:
            return x
        a, b = self.mlp_in(self.norm2(x, g2, b2)).chunk(2, dim=1)
        return x + self.scale2 * self.mlp_out(a * torch.nn.functional.silu(b))


def _closed(inputs: int, outputs: int) -> nn.Linear | None:
    """A linear layer that starts at zero, None without inputs."""
    if not inputs:
        return None
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def squash(logit: Tensor, bound: float = 4.0) -> Tensor:
    """Sigmoid whose logit keeps within +-bound, so that a weight that has become sure can still change its mind."""
    return torch.sigmoid(bound * torch.tanh(logit / bound))


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear upsampling by an integer factor."""
    return nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def start_at(layer: nn.Module, bias: float | tuple[float, ...], *, zero_weight: bool = False) -> None:
    """Set a layer's bias (one value, or one an output) and, if asked, its weight to zero, before training."""
    if not isinstance(layer, nn.Linear | nn.Conv2d) or layer.bias is None:
        raise TypeError(f"{type(layer).__name__} has no bias to start at")
    with torch.no_grad():
        layer.bias.copy_(torch.as_tensor(bias, dtype=layer.bias.dtype).expand_as(layer.bias))
        if zero_weight:
            layer.weight.zero_()


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two-layer perceptron with GELU."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
