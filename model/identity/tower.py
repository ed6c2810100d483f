"""The vision tower of CMIM and its text embeddings.

The tower is the vision transformer of open_clip with the same parameter names, so that the `visual.*` half of a
trained `CustomTextCLIP` loads into it unchanged (a test compares the two outputs); open_clip, and torchvision with
it, are needed only where towers are trained.
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
    width: int = 96
    layers: int = 3
    head_width: int = 24
    patch_size: int = 12
    image_size: int = 96
    mlp_ratio: float = 4.0

    def to_json(self) -> dict[str, object]:
        """Plain values for the bundle's file."""
        return asdict(self)


class _Block(nn.Module):
    """Pre-norm attention and MLP, named as in open_clip's ResidualAttentionBlock."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        wide = int(width * mlp_ratio)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, wide), gelu=nn.GELU(), c_proj=nn.Linear(wide, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class _Transformer(nn.Module):
    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        heads = config.width // config.head_width
        self.resblocks = nn.ModuleList(
            _Block(config.width, heads, config.mlp_ratio) for _ in range(config.layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class VisionTower(nn.Module):
    """open_clip's VisionTransformer with average pooling: (B, 3, S, S) -> (B, E), not yet of unit length."""

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        width, grid = config.width, config.image_size // config.patch_size
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, config.patch_size, stride=config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(grid * grid + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Transformer(config)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, config.embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv1(x).flatten(2).transpose(1, 2)  # (B, S/p * S/p, width)
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        tokens = self.ln_pre(torch.cat([first, tokens], dim=1) + self.positional_embedding)
        tokens = self.ln_post(self.transformer(tokens))
        return tokens[:, 1:].mean(dim=1) @ self.proj


def standardise(y: Tensor, size: int) -> Tensor:
    """(B, 1, H, W) of any brightness -> (B, 3, size, size) in 0..1, differentiable in y.

    Padded to a square, shrunk without aliasing, divided by the slice's own mean foreground m and compressed as
    x / (x + m): which contrast an image is does not depend on its gain, and no bright vessel or fat drowns the brain.
    """
    height, width = y.shape[-2:]
    tall, wide = max(0, width - height), max(0, height - width)
    y = F.pad(y.float(), (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
    if y.shape[-1] != size:
        y = F.interpolate(y, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    y = y.clamp_min(0)
    bright = y.detach().flatten(1).quantile(0.98, dim=1)[:, None, None, None]
    foreground = (y.detach() > BACKGROUND * bright).float()
    level = (y * foreground).sum(dim=(1, 2, 3), keepdim=True)
    level = level / foreground.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1.0)
    return (y / (y + level.clamp_min(1e-6))).expand(-1, 3, -1, -1)


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
