"""p_ij, the performance history of pairs that ThresholdNet reads (equations 4 and 5): measured while training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.network import MedK2N, Prediction
from training.sampling import Batch


@torch.no_grad()
def gains(p: Prediction, batch: Batch) -> Tensor:
    """(3, P, B): gain in dB of the fused over the base image, w_global and tau, of each pair and slice.

    P is 0 where the gain cannot be told: no auxiliary source, several of them, or a spoilt one.
    """
    if not p.pairs or len(batch.sources) != 2 or bool(batch.spoilt.any()):
        return p.w_global.new_zeros(3, 0, p.w_global.shape[0])
    area = batch.brain.sum(dim=(1, 2, 3)).clamp_min(1)
    rows = []
    for column, (_, j) in enumerate(p.pairs):
        truth = batch.y[:, j]
        inside = batch.brain[:, 0]
        fused = (((p.images[:, j].mean(1) - truth) ** 2) * inside).sum(dim=(1, 2)) / area
        base = (((p.base[:, j, 0] - truth) ** 2) * inside).sum(dim=(1, 2)) / area
        gain = 10 * torch.log10((base + 1e-6) / (fused + 1e-6))
        rows.append(torch.stack([gain, p.w_global[:, column], p.tau[:, column]]))
    return torch.stack(rows, dim=1)


@torch.no_grad()
def enter(
    network: MedK2N, pairs: Sequence[tuple[int, int]], measured: Tensor, batch: Batch, momentum: float = 0.99
) -> None:
    """Enter `gains` of all slices of a step, (3, P, B), into the network's history; P = 0 enters nothing."""
    if measured.shape[1] == 0:
        return
    for column, (i, j) in enumerate(pairs):
        gain, w, tau = measured[:, column]
        variance = gain.var() if len(gain) > 1 else torch.zeros_like(gain[0])
        new = torch.stack([gain.mean(), variance, (w > tau).float().mean(), w.mean()])
        row = network.history[batch.sources[i], batch.targets[j]]
        first = float(row[4]) == 0.0
        row[:4] = new if first else momentum * row[:4] + (1 - momentum) * new
        row[4] = torch.log1p(torch.expm1(row[4]) + 1)


def update_history(network: MedK2N, p: Prediction, batch: Batch, momentum: float = 0.99) -> None:
    """p_ij from this batch: gain of the fused over the base image, exact where a target has one auxiliary source."""
    enter(network, p.pairs, gains(p, batch), batch, momentum)
