"""The vision tower of CMIM and its text embeddings.

The tower is CLIP's ResNet with open_clip's parameter names, so that the `visual.*` half of a trained `CustomTextCLIP`
loads into it unchanged (a test compares the two outputs); open_clip, and torchvision with it, are needed only where
towers are trained.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.contrasts import CONTRASTS

#: Share of a slice's bright level below which a pixel is background.
BACKGROUND = 0.1


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """The tower, in the words of open_clip's CLIPVisionCfg, and the contrasts whose texts it was trained with."""

    contrasts: tuple[str, ...] = CONTRASTS
    embed_dim: int = 64
    layers: tuple[int, int, int, int] = (1, 2, 2, 1)
    width: int = 8
    head_width: int = 64
    image_size: int = 64

    def to_json(self) -> dict[str, object]:
        """Plain values for the bundle's file."""
        return asdict(self)


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; a stride is an average pool, so that nothing is aliased away."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            shortcut: list[tuple[str, nn.Module]] = [
                ("-1", nn.AvgPool2d(stride)),
                ("0", nn.Conv2d(inputs, outputs, 1, bias=False)),
                ("1", nn.BatchNorm2d(outputs)),
            ]
            self.downsample = nn.Sequential(OrderedDict(shortcut))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.avgpool(F.relu(self.bn2(self.conv2(y))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class _AttentionPool(nn.Module):
    """One query, the mean of the map, attends to its places."""

    def __init__(self, side: int, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(side * side + 1, width) / width**0.5)
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, side * side, width)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.positional_embedding
        shape = (-1, self.heads, tokens.shape[-1] // self.heads)
        q = self.q_proj(tokens[:, :1]).unflatten(-1, shape[1:]).transpose(1, 2)
        k = self.k_proj(tokens).unflatten(-1, shape[1:]).transpose(1, 2)
        v = self.v_proj(tokens).unflatten(-1, shape[1:]).transpose(1, 2)
        pooled = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.c_proj(pooled[:, 0])


class VisionTower(nn.Module):
    """CLIP's ResNet (open_clip's ModifiedResNet): (B, 3, S, S) -> (B, E), not yet of unit length."""

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        inputs, stages = width, []
        for stage, count in enumerate(config.layers):
            planes = width * 2**stage
            blocks = [_Bottleneck(inputs, planes, 1 if stage == 0 else 2)]
            blocks += [_Bottleneck(4 * planes, planes, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = 4 * planes
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.attnpool = _AttentionPool(
            config.image_size // 32, inputs, width * 32 // config.head_width, config.embed_dim
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


def standardise(y: Tensor, size: int) -> Tensor:
    """(B, 1, H, W) of any brightness -> (B, 3, size, size) in -2..2, differentiable in y.

    Padded to a square, shrunk without aliasing, then 2 tanh(z / 2) with z in units of the slice's own foreground (its
    mean and spread): which contrast an image is does not depend on its gain, small differences between grey and white
    matter count as much as those to fluid, and no bright vessel or fat drowns them.
    """
    height, width = y.shape[-2:]
    tall, wide = max(0, width - height), max(0, height - width)
    y = F.pad(y.float(), (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
    if y.shape[-1] != size:
        y = F.interpolate(y, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    y = y.clamp_min(0)
    bright = y.detach().flatten(1).quantile(0.98, dim=1)[:, None, None, None]
    foreground = (y.detach() > BACKGROUND * bright).float()
    area = foreground.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1.0)
    mean = (y * foreground).sum(dim=(1, 2, 3), keepdim=True) / area
    variance = ((y - mean).square() * foreground).sum(dim=(1, 2, 3), keepdim=True) / area
    # A flat foreground has no spread: a fiftieth of its mean stands in, so that noise is not blown up.
    z = (y - mean) / torch.sqrt(variance + (0.02 * mean).square() + 1e-12)
    return (2 * torch.tanh(z / 2)).expand(-1, 3, -1, -1)


class Identity(nn.Module):
    """A frozen tower with the embedding of each contrast's description (M-11)."""

    text: Tensor
    logit_scale: Tensor

    def __init__(self, config: IdentityConfig, visual: nn.Module | None = None) -> None:
        """`visual` in place of the own tower: any module (B, 3, S, S) -> (B, E), S = config.image_size."""
        super().__init__()
        self.config = config
        self.visual = VisionTower(config) if visual is None else visual
        self.register_buffer("text", torch.zeros(len(config.contrasts), config.embed_dim))
        self.register_buffer("logit_scale", torch.ones(()))
        self.freeze()

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that it tells apart; columns of `logits`."""
        return self.config.contrasts

    def freeze(self) -> Identity:
        """No gradient to its own weights, no change of statistics; the gradient to the image stays."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Identity:
        """Stays in evaluation mode whatever the network around it does."""
        super().train(False)
        return self

    def embed(self, y: Tensor) -> Tensor:
        """(B, 1, H, W) -> unit vectors v (B, E)."""
        return F.normalize(self.visual(standardise(y, self.config.image_size)), dim=-1)

    def compare(self, v: Tensor) -> Tensor:
        """Unit vectors (B, E) -> sim(v, t_k) / tau for every contrast k, (B, C)."""
        return self.logit_scale * v @ self.text.T

    def logits(self, y: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, C)."""
        return self.compare(self.embed(y))

    def forward(self, y: Tensor) -> Tensor:
        return self.logits(y)
