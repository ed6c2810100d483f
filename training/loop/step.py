"""One step: a batch, whole or in parts, through the network and the losses to the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from model.identity import Identity
from model.network import MedK2N, Prediction
from training.loop.history import gains
from training.loop.plan import Draw
from training.losses import (
    Discriminators,
    Totals,
    Weights,
    cmim_loss,
    discriminator_loss,
    generator_loss,
    reconstruction_loss,
    total_loss,
    totals,
)
from training.sampling import Batch


class Pupil(nn.Module):
    """The network in the form that Fabric and DDP want: tensors in, a plain tuple out."""

    def __init__(self, network: MedK2N) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        x: Tensor,
        sources: list[int],
        targets: list[int],
        levels: Tensor,
        keys: list[int],
        site: Tensor,
        rebuilt: int | None,
    ) -> tuple[tuple[Any, ...], Tensor | None]:
        """A prediction's fields in order, and the candidates (B, 1, 3, H, W) of source number `rebuilt`."""
        encoded = self.network.encode(x, sources, site)
        p = self.network.fuse(encoded, sources, targets, levels, keys, site)
        image = None
        if rebuilt is not None:
            label, one = [sources[rebuilt]], [rebuilt]
            image = self.network.fuse(encoded.of(one), label, label, levels[:, one], [0], site).images
        return tuple(getattr(p, f.name) for f in fields(p)), image


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a step was: the terms of its loss over all parts, and what it measured of each pair.

    Attributes:
        measured: (3, P, B) of `history.gains`; synthetic: (B, N, H, W), detached, where an adversary judges it.
    """

    loss: float
    terms: dict[str, float]
    pairs: tuple[tuple[int, int], ...]
    measured: Tensor
    synthetic: Tensor | None


class Teacher:
    """Sends batches through the network and leaves the gradient of the whole step in its parameters."""

    def __init__(
        self,
        fabric: Fabric,
        pupil: Any,
        weights: Weights,
        *,
        contrasts: Sequence[str],
        accumulate: int = 1,
        identity: Identity | None = None,
        judges: Discriminators | None = None,
    ) -> None:
        self.fabric, self.pupil, self.weights = fabric, pupil, weights
        self.contrasts, self.accumulate = tuple(contrasts), accumulate
        self.identity = None if identity is None else identity.to(fabric.device)
        self.judges = judges

    def teach(self, draw: Draw, *, identify: bool) -> Outcome:
        """The gradient of one step is added to the parameters; `identify`: CMIM takes part."""
        whole_batch = draw.batch.to(self.fabric.device)
        if self.judges is not None:
            self.judges.requires_grad_(False)  # here they only judge
        # Averaged over machines, because DDP averages the gradients: together it is the sum over all slices.
        stacked = self.fabric.all_reduce(
            totals(whole_batch, self.weights, draw.keys).stacked(), reduce_op="mean"
        )
        whole = Totals.unstacked(torch.as_tensor(stacked))
        parts = _parts(len(whole_batch), self.accumulate)
        terms: dict[str, float] = {}
        loss, measured, synthetic = 0.0, [], []
        pairs: tuple[tuple[int, int], ...] = ()
        for number, rows in enumerate(parts):
            batch = whole_batch.only(rows) if len(parts) > 1 else whole_batch
            with self.fabric.no_backward_sync(self.pupil, enabled=number + 1 < len(parts)):
                value, each, p = self._loss(draw, batch, whole, identify)
                self.fabric.backward(value)
            loss += float(value.detach())
            terms = {name: terms.get(name, 0.0) + v for name, v in each.items()}
            pairs = p.pairs
            measured.append(gains(p, batch))
            if self.judges is not None:
                synthetic.append(p.images.mean(dim=2).detach())
        # A part with a spoilt slice tells no gain, and then neither does the step, as in one piece.
        told = all(m.shape[1] for m in measured)
        return Outcome(
            loss=loss,
            terms=terms,
            pairs=pairs,
            measured=torch.cat(measured, dim=2) if told else measured[0][:, :0],
            synthetic=torch.cat(synthetic) if synthetic else None,
        )

    def _loss(
        self, draw: Draw, batch: Batch, whole: Totals, identify: bool
    ) -> tuple[Tensor, dict[str, float], Prediction]:
        w = self.weights
        rebuilt = draw.rebuilt if w.rec > 0 else None
        values, image = self.pupil(
            batch.x, batch.sources, batch.targets, batch.levels, draw.keys, batch.site, rebuilt
        )
        # Images come out with channels last; beside truths in rows, each operation of the losses would stride.
        rows: list[Any] = [v.contiguous() if isinstance(v, Tensor) else v for v in values]
        p = Prediction(**{f.name: v for f, v in zip(fields(Prediction), rows, strict=True)})
        loss, parts = total_loss(p, batch, w, whole)
        part = float(len(batch) / whole.slices)
        parts |= {"causal": 0.0, "metric": 0.0}
        mean = p.images.mean(dim=2)
        if self.identity is not None and identify:
            causal, metric = cmim_loss(
                self.identity, mean, batch.y, [self.contrasts[j] for j in batch.targets], batch.x[:, :, 1]
            )
            loss = loss + part * w.causal * causal + part * w.metric * metric
            parts |= {"causal": part * float(causal.detach()), "metric": part * float(metric.detach())}
        if image is not None:
            rec = reconstruction_loss(image, batch.x[:, draw.rebuilt, 1:2], batch, w, whole)
            loss = loss + w.rec * rec
            parts["rec"] = float(rec.detach())
        if self.judges is not None:
            verdict = self.judges(mean, batch.targets)
            fooled = generator_loss(verdict, batch.present, whole.heads / 3)
            loss = loss + w.adversarial * fooled
            parts["adversarial"] = float(fooled.detach())
        return loss, parts, p

    def judge(self, judges: Any, draw: Draw, synthetic: Tensor) -> float:
        """The gradient of the discriminators' own loss (PMM-Synth, equation 9); gives the loss."""
        batch = draw.batch.to(self.fabric.device)
        if self.judges is not None:
            self.judges.requires_grad_(True)
        loss = discriminator_loss(
            judges(synthetic, batch.targets), judges(batch.y, batch.targets), batch.present
        )
        self.fabric.backward(loss)
        return float(loss.detach())


def _parts(count: int, parts: int) -> list[slice]:
    """`count` slices in at most `parts` parts of nearly the same size."""
    size = -(-count // max(1, parts))
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]
