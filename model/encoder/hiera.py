"""Hiera (arXiv 2306.00989) as SAM 2.1 uses it, in sizes from `nano` (ours, for CPU) to `large`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sam2.modeling.backbones.image_encoder import FpnNeck
from torch import Tensor, nn

from model.encoder.attention import attend_in_windows
from model.encoder.trunk import Trunk
from model.layers import Pointwise


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Hyper-parameters of the trunk, `width` of the neck (SAM 2's: its checkpoints fit) and `features` behind it.

    `window_spec` differs from the stock (8, 4, 14, 7): at 256 pixels the stride-16 and stride-32 maps are 16 and 8
    wide, which the stock windows pad to 28 and 14 (three times the tokens). No parameter changes its shape.
    """

    name: str
    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_att_blocks: tuple[int, ...]
    width: int
    features: int = 128
    background: tuple[int, int] = (14, 14)
    window_spec: tuple[int, ...] = (8, 4, 16, 8)


ENCODERS: dict[str, EncoderConfig] = {
    config.name: config
    for config in (
        EncoderConfig(
            name="nano", embed_dim=32, num_heads=1, stages=(1, 2, 4, 1), global_att_blocks=(4, 6), width=64,
            features=64,
        ),
        EncoderConfig(
            name="tiny", embed_dim=96, num_heads=1, stages=(1, 2, 7, 2), global_att_blocks=(5, 7, 9),
            width=256, background=(7, 7),
        ),
        EncoderConfig(
            name="small", embed_dim=96, num_heads=1, stages=(1, 2, 11, 2), global_att_blocks=(7, 10, 13),
            width=256, background=(7, 7),
        ),
        EncoderConfig(
            name="base_plus", embed_dim=112, num_heads=2, stages=(2, 3, 16, 3), global_att_blocks=(12, 16, 20),
            width=256,
        ),
        EncoderConfig(
            name="large", embed_dim=144, num_heads=2, stages=(2, 6, 36, 4), global_att_blocks=(23, 33, 43),
            width=256, background=(7, 7),
        ),
    )
}  # fmt: skip


#: What SAM 2 subtracts from and divides each channel by (ImageNet's statistics; sam2.utils.transforms).
SAM2_MEAN, SAM2_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _NoPosition(nn.Module):
    """The neck asks for a position encoding of each level; nothing here reads it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


class ImageEncoder(nn.Module):
    """Trunk and neck under SAM 2's own parameter names (`trunk.*`, `neck.*`), so that its checkpoints fit.

    `sam2_input`: standardise the input as SAM 2 does; right for its weights, wrong for weights trained here.
    """

    def __init__(self, config: EncoderConfig, sam2_input: bool = False) -> None:
        super().__init__()
        self.config = config
        self.sam2_input = sam2_input
        self.trunk = Trunk(
            embed_dim=config.embed_dim,
            num_heads=config.num_heads,
            stages=config.stages,
            global_att_blocks=config.global_att_blocks,
            window_pos_embed_bkg_spatial_size=config.background,
            window_spec=config.window_spec,
        )
        attend_in_windows(self.trunk)
        self.neck = FpnNeck(
            position_encoding=_NoPosition(),
            d_model=config.width,
            backbone_channel_list=self.trunk.channel_list,
            fpn_top_down_levels=[2, 3],
            fpn_interp_model="nearest",
        )
        # One pixel's convolutions of the stock neck, as everywhere else; parameters and their names stay.
        for module in self.neck.modules():
            if type(module) is nn.Conv2d and module.kernel_size == (1, 1):
                module.__class__ = Pointwise
        # Position tables start at zero in the stock code, where pretrained weights follow; here they may not.
        nn.init.trunc_normal_(self.trunk.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.trunk.pos_embed_window, std=0.02)

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.sam2_input:
            mean, std = (x.new_tensor(v)[:, None, None] for v in (SAM2_MEAN, SAM2_STD))
            x = (x - mean) / std
        features, _ = self.neck(self.trunk(x))
        return [torch.as_tensor(f) for f in features]
