"""The paper's table 3 (M-3) in training: how much of the weight networks decides about an auxiliary source.

B0 is a plain average, B1 takes w_global, B2 gates it by tau, B3 and beyond take the whole w_eff. What a row does not
use is still computed, has no say, and so learns nothing from the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.fusion import PairContext
from model.network import MedK2N

#: Width of EffiWeightNet's soft gate (equation 7).
GATE_WIDTH = 0.1


def _average(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return torch.ones_like(output)


def _global(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    context: PairContext = inputs[0]
    return context.w_global[..., None, None, None].expand_as(output)


def _gated(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    context: PairContext = inputs[0]
    gate = torch.sigmoid((context.w_global - context.tau) / GATE_WIDTH)
    return (context.w_global * gate)[..., None, None, None].expand_as(output)


_HOOKS = {"B0": _average, "B1": _global, "B2": _gated}


def build_as(network: MedK2N, row: str) -> MedK2N:
    """The network as that row of the table has it, in training and afterwards; B3 and beyond leave it as it is.

    The weights do not show it: whoever loads them for an evaluation of the row calls this again.

    Raises:
        ValueError: there is no such row.
    """
    if row not in ("B0", "B1", "B2", "B3", "B4", "B5"):
        raise ValueError(f"the paper's table 3 has no row {row!r}")
    if row in _HOOKS:
        network.effiweight.register_forward_hook(_HOOKS[row])
    return network
