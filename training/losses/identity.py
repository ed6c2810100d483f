"""The two terms of CMIM (paper section 2.6): a synthetic image must be the contrast that it claims to be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.identity import Identity


def cmim_loss(
    identity: Identity,
    y_hat: Tensor,
    y: Tensor,
    targets: Sequence[str],
    others: Tensor | None = None,
    margin: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """L_causal (M-12) and L_metric (M-13); the gradient reaches `y_hat` and nothing else.

    M-12 compares each synthetic slice with the descriptions of all contrasts. M-13 takes it as the anchor, the real
    slice of the same contrast as the positive, and real slices of the other contrasts at the same place as negatives:
    anatomy is the same in all of them, so only contrast can tell them apart. d is one minus the cosine.

    Args:
        identity: the frozen tower.
        y_hat: (B, N, H, W) synthetic slices; y: (B, N, H, W) the real ones.
        targets: names of the N contrasts; one that the tower does not know takes no part.
        others: (B, M, H, W) real slices of contrasts that are no targets (the sources' own), more negatives.
        margin: alpha of M-13.

    Returns:
        two scalars, means over slices, targets and negatives; zero where nothing can be compared.
    """
    known = [j for j, name in enumerate(targets) if name in identity.contrasts]
    if not known:
        return y_hat.new_zeros(()), y_hat.new_zeros(())
    batch = y_hat.shape[0]
    generated = identity.embed(y_hat[:, known].flatten(0, 1)[:, None])  # (B n, E)
    label = torch.tensor([identity.contrasts.index(targets[j]) for j in known], device=y_hat.device)
    causal = F.cross_entropy(identity.compare(generated), label.repeat(batch))
    with torch.no_grad():
        real = y if others is None else torch.cat([y, others], dim=1)  # (B, N + M, H, W)
        reference = identity.embed(real.flatten(0, 1)[:, None]).unflatten(0, real.shape[:2])
    distance = 1 - torch.einsum("bne,bke->bnk", generated.unflatten(0, (batch, len(known))), reference)
    own = F.one_hot(torch.tensor(known, device=y_hat.device), real.shape[1]).bool()  # (n, N + M)
    if bool(own.all()):
        return causal, y_hat.new_zeros(())
    positive = distance[:, own].unsqueeze(-1)  # (B, n, 1)
    hinge = F.relu(margin + positive - distance)
    return causal, hinge[:, ~own].mean()
