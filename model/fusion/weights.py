"""The three weight networks of the paper (sections 2.2 to 2.4), over all pairs (source i, target j) at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.layers import Pointwise, mlp, squash, start_at

TAU_MIN, TAU_MAX = 0.05, 0.9  # equation 5
EPSILON = 0.001  # equation 7
GATE_WIDTH = 0.1
MEMORY_SLOTS = 16
#: Performance history of a pair: mean gain (dB), its variance, accept rate, mean w, log count.
HISTORY = 5


@dataclass(frozen=True, kw_only=True)
class PairContext:
    """What the three networks share about each of P pairs; B slices.

    Attributes:
        task: (B, P, D) task-aware vector.
        memory: (B, P, D) retrieved from M_j.
        gate: (B, P, G) the gate controller's features.
        w_global, tau: (B, P).
    """

    task: Tensor
    memory: Tensor
    gate: Tensor
    w_global: Tensor
    tau: Tensor


class PreWeightNet(nn.Module):
    """w_global of each pair from pooled features and the target's memory bank M_j (equations 2 and 3)."""

    def __init__(self, width: int, contrasts: int, embed: int) -> None:
        super().__init__()
        self.width = width
        self.memory = nn.Parameter(torch.randn(contrasts, width, MEMORY_SLOTS) / math.sqrt(width))
        # Quality context of the base prediction: mean predicted L1 and 1-SSIM error.
        self.task_encoder = mlp(width + embed + 2, width, width)
        self.task_aware = mlp(4 * width + 2 * embed, 2 * width, width)
        self.weight = mlp(2 * width, width, 1)

    def forward(
        self,
        key: Tensor,
        aux: Tensor,
        difference: Tensor,
        base: Tensor,
        source: Tensor,
        target: Tensor,
        quality: Tensor,
        label: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pooled (B, P, D) features, embeddings (P, E), quality (B, P, 2), target label (P,).

        `difference` is the pooled distance of key and auxiliary features place by place: two images of the same head
        that do not lie on each other differ in it, not in their means.

        Returns:
            w_global (B, P), task vector (B, P, D), retrieved memory (B, P, D).
        """
        batch = key.shape[0]
        e_i, e_j = (e[None].expand(batch, -1, -1) for e in (source, target))
        x = self.task_aware(torch.cat([key, aux, difference, base, e_i, e_j], dim=-1))
        q = self.task_encoder(torch.cat([key, e_j, quality], dim=-1))
        bank = self.memory[label]  # (P, D, slots)
        attention = torch.softmax(torch.einsum("bpd,pds->bps", q, bank) / math.sqrt(self.width), dim=-1)
        retrieved = torch.einsum("bps,pds->bpd", attention, bank)  # equation 2
        w = squash(self.weight(torch.cat([x, retrieved], dim=-1)).squeeze(-1))  # equation 3
        return w, x, retrieved


class ThresholdNet(nn.Module):
    """tau of each pair from w_global, memory, compatibility C_ij and history p_ij (equations 4 and 5)."""

    def __init__(self, width: int, embed: int, gate: int = 32) -> None:
        super().__init__()
        self.compatibility = mlp(2 * embed, 32, 16)
        self.controller = mlp(1 + width + 16 + HISTORY, 64, gate)
        self.threshold = mlp(gate, 32, 1)

    def forward(
        self, w_global: Tensor, memory: Tensor, source: Tensor, target: Tensor, history: Tensor
    ) -> tuple[Tensor, Tensor]:
        """w_global (B, P), memory (B, P, D), embeddings (P, E), history (P, HISTORY) -> tau (B, P), gate (B, P, G)."""
        batch = w_global.shape[0]
        c = self.compatibility(torch.cat([source, target], dim=-1))
        fixed = torch.cat([c, history], dim=-1)[None].expand(batch, -1, -1)
        gate = self.controller(torch.cat([w_global[..., None], memory, fixed], dim=-1))
        tau = TAU_MIN + (TAU_MAX - TAU_MIN) * squash(self.threshold(gate).squeeze(-1))
        return tau, gate


class EffiWeightNet(nn.Module):
    """w_eff as a map (equations 6 and 7): one number a pair, modulated in space, gated by w_global against tau."""

    def __init__(self, width: int, embed: int, gate: int = 32, hidden: int = 16) -> None:
        super().__init__()
        self.calculator = mlp(2 + width + gate + 2 * embed, 64, 1)
        self.key = Pointwise(width, hidden)
        self.aux = Pointwise(width, hidden)
        self.error = Pointwise(2, hidden)
        self.spatial = nn.Sequential(nn.GELU(), nn.Conv2d(hidden, 1, 3, padding=1))
        # Near one half at the start: neither a dead pair nor a pair that always wins.
        start_at(self.calculator[2], 1.0, zero_weight=True)

    def look(
        self, feature: Sequence[Tensor], keys: Iterable[int], sources: Iterable[int]
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Those of K sources (B, D, h, w) as keys and as auxiliary sources, (B, G, h, w) each: once for all pairs."""
        return {k: self.key(feature[k]) for k in keys}, {i: self.aux(feature[i]) for i in sources}

    def forward(
        self,
        context: PairContext,
        seen: tuple[dict[int, Tensor], dict[int, Tensor]],
        error: Tensor,
        keys: list[int],
        sources: list[int],
        targets: list[int],
        source: Tensor,
        target: Tensor,
    ) -> Tensor:
        """Weight maps of P pairs.

        Args:
            seen: what `look` gives; error: (B, N, 2, h, w) of the base predictions.
            keys, sources, targets: of each pair, the positions of its key source, its own source and its target.
            source, target: (P, E) embeddings.

        Returns:
            w_eff (B, P, 1, h, w).
        """
        batch, pairs = context.w_global.shape
        labels = torch.cat([source, target], dim=-1)[None].expand(batch, -1, -1)
        scalars = torch.stack([context.w_global, context.tau], dim=-1)
        fused = torch.cat([scalars, context.memory, context.gate, labels], dim=-1)
        strength = squash(self.calculator(fused))[..., None, None]  # (B, P, 1, 1, 1)
        errors = self.error(error.transpose(0, 1).flatten(0, 1)).split([batch] * error.shape[1])
        maps = [seen[0][k] + seen[1][i] + errors[j] for k, i, j in zip(keys, sources, targets, strict=True)]
        place = 2 * torch.sigmoid(self.spatial(torch.cat(maps))).unflatten(0, (pairs, batch)).transpose(0, 1)
        weight = (strength * place).clamp(EPSILON, 1 - EPSILON)
        gate = torch.sigmoid((context.w_global - context.tau) / GATE_WIDTH)[..., None, None, None]
        return weight * gate
