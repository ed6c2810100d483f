"""The convolution block that the pyramid, the fusion and the heads share.

Axis letters in this package: B slices, K sources, N targets, P = N (K-1) pairs, D width, H W image size,
h w = H/4 W/4 feature size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.plane_norm import PlaneNorm

#: A larger tensor does not stay in the caches of a CPU from one step to the next.
PART_BYTES = 6 << 20


def in_parts(work: Callable[[Tensor], Tensor], x: Tensor, each: int) -> Tensor:
    """work(x), which treats the samples of the first axis apart from each other; on a CPU a few of them at a time.

    `each`: bytes of the largest tensor that comes of one sample.
    """
    step = max(1, PART_BYTES // each)
    # An exported graph has a free number of samples, hence no fixed number of parts.
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.shape[0] <= step:
        return work(x)
    return torch.cat([work(part) for part in x.split(step)])


def conv1x1(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.conv2d(x, weight, bias) for a kernel of one pixel: (B, C, h, w) and (O, C, 1, 1) -> (B, O, h, w).

    On one core of a CPU PyTorch (2.13) gives such a kernel to oneDNN from 16 images on; below, an older path fills the
    result with the bias and adds the product to it: as fast for some shapes, 1.7 times as slow for others. Channels
    last, the rows of an image are as many images of one row, without a copy.
    """
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.shape[0] >= 16 or not channels_last:
        return F.conv2d(x, weight, bias)
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch * height, 1, width, channels).permute(0, 3, 1, 2)
    y = F.conv2d(rows, weight, bias).permute(0, 2, 3, 1)
    return y.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """nn.Conv2d of a kernel of one pixel, through `conv1x1`; the parameters are the same."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, input: Tensor) -> Tensor:  # torch's own name of the argument
        return conv1x1(input, self.weight, self.bias)


def pointwise(x: Tensor, conv: nn.Conv2d, gain: Tensor, offset: Tensor) -> Tensor:
    """conv(gain * x + offset) for a 1x1 convolution, without two passes over the image.

    Gain and offset are per channel, so they fold into the weights; what differs from sample to sample becomes one
    matrix product a sample.

    Args:
        x: (B, C, h, w); gain, offset: (M, C) with M = B, or M = 1 where all samples share them.

    Returns:
        (B, O, h, w).
    """
    weight = conv.weight.flatten(1)
    bias = offset @ weight.T if conv.bias is None else conv.bias + offset @ weight.T  # (M, O)
    folded = gain[:, None] * weight  # (M, O, C)
    if len(folded) == 1:
        return conv1x1(x, folded[0, :, :, None, None], bias[0])
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, h*w, C)
    y = torch.baddbmm(bias[:, None], rows, folded.transpose(1, 2))
    return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def standardised(x: Tensor) -> Tensor:
    """(B, C, h, w) with mean 0 and variance 1 over the channels of each pixel."""
    # One fused kernel on channels-last data; the permutes are views there.
    return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), eps=1e-5).permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """Layer norm over channels at each pixel, (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, 1e-5)
        return x.permute(0, 3, 1, 2)

    def modulated(self, gamma: Tensor | None, beta: Tensor | None) -> tuple[Tensor, Tensor]:
        """Gain and offset (M, C) of the norm under a modulation (FiLM): (1 + gamma) * norm + beta."""
        if gamma is None or beta is None:
            return self.weight[None], self.bias[None]
        return self.weight * (1 + gamma), self.bias * (1 + gamma) + beta


class ConvBlock(nn.Module):
    """Residual block: norm, expand, depthwise 3x3, gate, project; then (`pointwise`) a gated MLP.

    `condition`, for instance a target's embedding, modulates both norms; so does `site`, the code of where the images
    come from (PMM-Synth, equations 2 and 3). Both are (M, width) with M = B, or M = 1 where all samples share them, and
    start without effect.
    """

    def __init__(
        self, channels: int, condition: int = 0, site: int = 0, expand: int = 2, pointwise: bool = True
    ) -> None:
        super().__init__()
        wide = channels * expand
        self.norm1 = ChannelNorm(channels)
        self.expand = Pointwise(channels, wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.project = Pointwise(wide // 2, channels)
        self.scale1 = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))
        self.pointwise = pointwise
        if pointwise:
            self.norm2 = ChannelNorm(channels)
            self.mlp_in = Pointwise(channels, wide)
            self.mlp_out = Pointwise(wide // 2, channels)
            self.scale2 = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))
        outputs = (4 if pointwise else 2) * channels
        self.film = closed(condition, outputs) if condition else None
        self.site = closed(site, outputs) if site else None

    def forward(self, x: Tensor, condition: Tensor | None = None, site: Tensor | None = None) -> Tensor:
        g1 = b1 = g2 = b2 = None
        modulation = _modulation(((self.film, condition), (self.site, site)))
        if modulation is not None:
            parts = modulation.chunk(4 if self.pointwise else 2, dim=1)
            g1, b1 = parts[:2]
            g2, b2 = parts[-2:]
        y = self.depthwise(pointwise(standardised(x), self.expand, *self.norm1.modulated(g1, b1)))
        x = _onto(x, self.project, self.scale1, _gated(y))
        if not self.pointwise:
            return x
        y = pointwise(standardised(x), self.mlp_in, *self.norm2.modulated(g2, b2))
        return _onto(x, self.mlp_out, self.scale2, _gated(y))


def _gated(y: Tensor) -> Tensor:
    """One half of the channels times the SiLU of the other, (B, 2C, h, w) -> (B, C, h, w)."""
    # Laid out anew: over runs of a few channels a CPU takes SiLU number by number, in four times the time.
    a, b = (half.contiguous(memory_format=torch.channels_last) for half in y.chunk(2, dim=1))
    return a * F.silu(b)


def _onto(x: Tensor, conv: nn.Conv2d, scale: Tensor, branch: Tensor) -> Tensor:
    """x + scale * conv(branch), the scale of the residual (1, O, 1, 1) folded into the weights."""
    bias = None if conv.bias is None else conv.bias * scale.flatten()
    y = conv1x1(branch, conv.weight * scale.transpose(0, 1), bias)
    return y.add_(x) if y.dtype == x.dtype else x + y  # under autocast the residual keeps its precision


class DenseBlock(nn.Module):
    """Residual block: a full 3x3 convolution to `hidden` channels, instance norm, modulation and GELU, project.

    For few channels at many pixels, where a CPU computes faster than it reads. `condition`, `site`: as in `ConvBlock`.
    """

    def __init__(self, channels: int, hidden: int, condition: int = 0, site: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.norm = PlaneNorm(hidden)
        self.project = Pointwise(hidden, channels)
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), 0.2))
        self.film = closed(condition, 2 * hidden) if condition else None
        self.site = closed(site, 2 * hidden) if site else None

    def forward(self, x: Tensor, condition: Tensor | None = None, site: Tensor | None = None) -> Tensor:
        modulation = _modulation(((self.film, condition), (self.site, site)))
        gain, offset = (None, None) if modulation is None else modulation.chunk(2, dim=1)
        y = self.norm(self.conv(x), gain, offset)
        return _onto(x, self.project, self.scale, F.gelu(y))


def _modulation(layers: tuple[tuple[nn.Linear | None, Tensor | None], ...]) -> Tensor | None:
    """The sum of what each code asks for, (M, C), None without any."""
    parts = [layer(code) for layer, code in layers if layer is not None and code is not None]
    return sum(parts[1:], parts[0]) if parts else None


def closed(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts at zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def squash(logit: Tensor, bound: float = 4.0) -> Tensor:
    """Sigmoid whose logit keeps within +-bound, so that a weight that has become sure can still change its mind."""
    return torch.sigmoid(bound * torch.tanh(logit / bound))


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear upsampling by an integer factor."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def meet(conv: nn.Conv2d, coarse: Tensor, fine: Tensor) -> Tensor:
    """conv(cat(upsample(coarse), fine)) for a 1x1 convolution, without the concatenation.

    A 1x1 convolution and bilinear interpolation, whose weights sum to one, commute: the coarse part is convolved before
    it is enlarged, at a quarter of the cost. N coarse maps in a row may share one fine map: (B*N, ...) and (B, ...).
    """
    first, second = conv.weight.split([coarse.shape[1], fine.shape[1]], dim=1)
    enlarged = upsample(conv1x1(coarse, first, conv.bias))
    met = conv1x1(fine, second)
    if met.shape[0] == enlarged.shape[0]:
        return met.add_(enlarged)
    return (enlarged.unflatten(0, (met.shape[0], -1)) + met[:, None]).flatten(0, 1)


def beside(x: Tensor, *convs: nn.Conv2d) -> tuple[Tensor, ...]:
    """The results of several convolutions of one map and one kernel size, which is read once.

    Plane by plane in memory: of a few channels at every pixel, interpolation and pixel shuffle take four times as long.
    """
    weight = torch.cat([conv.weight for conv in convs])
    bias = torch.cat([conv.bias for conv in convs if conv.bias is not None])
    y = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2).contiguous()
    return y.split([conv.out_channels for conv in convs], dim=1)


def on_blocks(x: Tensor, conv: nn.Conv2d, side: int) -> Tensor:
    """conv(pixel_unshuffle(x, side)): the same sum as one convolution of the pixels, with a stride of `side`.

    (B, C, H, W) -> (B, O, H/side, W/side), channels last in memory.
    """
    out, _, *kernel = conv.weight.shape
    weight = conv.weight.reshape(out, x.shape[1], side, side, *kernel).permute(0, 1, 4, 2, 5, 3)
    weight = weight.reshape(out, x.shape[1], kernel[0] * side, kernel[1] * side)
    padding = kernel[0] // 2 * side
    # Of one channel, both layouts are the same bytes; the strides say which of them the result shall have.
    one = x.shape[1] == 1
    images = (
        x.contiguous().flatten(1, 2).unsqueeze(-1).permute(0, 3, 1, 2)
        if one
        else x.contiguous(memory_format=torch.channels_last)
    )
    y = F.conv2d(images, weight, conv.bias, stride=side, padding=padding)
    return y.contiguous(memory_format=torch.channels_last)


def each_target(target: Tensor, batch: int) -> Tensor:
    """Embeddings (N, E) of the targets for (slice, target) samples: (B*N, E), or (1, E) where there is one target."""
    return target if len(target) == 1 else target.repeat(batch, 1)


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
