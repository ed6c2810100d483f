"""SAM 2's Hiera with the same parameters and results, its tokens kept in windows from one block to the next.

The stock trunk cuts every block's input into windows and lays them back together behind it. Windows of 8 tokens become
windows of 4 where the queries are pooled 2 to 2, which is what the blocks behind the pooling ask for: up to the third
stage the tokens need no other order than the first block's.
"""

from __future__ import annotations

from functools import partial

import torch
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock, do_pool
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import Tensor

from model.layers import in_parts


class Trunk(Hiera):  # type: ignore[misc]
    """(B, 3, H, W) -> the last map of each stage, (B, C, h, w), as the stock trunk gives it."""

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        x = x + self._get_pos_embed(x.shape[1:3])
        height, width = x.shape[1:3]
        side, outputs = 0, []  # side: of the windows that x is in, 0 where it is whole
        for number, block in enumerate(self.blocks):
            wanted = block.window_size
            fits = wanted > 0 and height % wanted == width % wanted == 0
            if side and side != wanted:
                x, side = _whole(x, side, height, width), 0
            if fits and not side:
                x, side = window_partition(x, wanted)[0], wanted
            # Where a map must be padded to whole windows, the padding is the stock block's affair.
            x = in_parts(partial(_within, block), x, _widest(block, side)) if side else block(x)
            if block.q_stride:
                height, width, side = height // 2, width // 2, side // 2
            if number in self.stage_ends:
                outputs.append((_whole(x, side, height, width) if side else x).permute(0, 3, 1, 2))
        return outputs


def _whole(x: Tensor, side: int, height: int, width: int) -> Tensor:
    """Windows (B*n, side, side, C) -> (B, height, width, C)."""
    return torch.as_tensor(window_unpartition(x, side, (height, width), (height, width)))


def _widest(block: MultiScaleBlock, side: int) -> int:
    """Bytes of the largest tensor of one window: keys, queries and values, or the inside of the MLP."""
    tokens = side * side
    pooled = tokens // 4 if block.q_stride else tokens
    return 4 * max(tokens * 3 * block.dim_out, pooled * block.mlp.layers[0].out_features)


def _within(block: MultiScaleBlock, x: Tensor) -> Tensor:
    """A block on tokens that are in its windows already, (B*n, side, side, C); pooled, the windows are half as wide."""
    y = block.norm1(x)
    shortcut = x if block.dim == block.dim_out else do_pool(block.proj(y), block.pool)
    x = shortcut + block.drop_path(block.attn(y))
    return torch.as_tensor(x + block.drop_path(block.mlp(block.norm2(x))))
