"""How many operations a forward pass takes: PyTorch's counter, with what it leaves out."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def operation_counter() -> FlopCounterMode:
    """Counts matrix products, convolutions and attention, two operations a multiply-add.

    Attention is counted by PyTorch on CUDA; on a CPU it is another operator, which its table lacks.
    """
    return FlopCounterMode(
        display=False,
        custom_mapping={torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention},
    )


def _attention(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_rest: object, **_named: object
) -> int:
    """The two products of softmax(q k) v, from the shapes of the three."""
    return int(sdpa_flop_count(query, key, value))
