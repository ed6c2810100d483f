"""Mamba-2's state-space duality (SSD, arXiv 2405.21060) in two forms with one set of parameters.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t,    y_t = C_t h_t + D x_t

`ssd_recurrence` steps through time in float64: the oracle. `ssd_chunked` does the same sum by matrix products over
chunks of Q steps: what runs on CPU and on any GPU. The third form, and the choice, stand in `model.scan.forms`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64


def ssd_recurrence(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The recurrence itself, in float64.

    Args:
        x: (B, L, H, P) inputs; dt: (B, L, H) positive steps; a: (H,) negative; b, c: (B, L, N) one group.

    Returns:
        (B, L, H, P) float64, without the skip D x.
    """
    x, dt, a, b, c = (v.double() for v in (x, dt, a, b, c))
    batch, length, heads, width = x.shape
    state = x.new_zeros(batch, heads, width, b.shape[-1])
    out = []
    for t in range(length):
        decay = torch.exp(dt[:, t] * a)[:, :, None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * b[:, t, None, None, :]
        out.append((state * c[:, t, None, None, :]).sum(-1))
    return torch.stack(out, dim=1)


def ssd_chunked(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk: int = CHUNK) -> Tensor:
    """The same sum by chunks: inside a chunk a masked product, between chunks a short recurrence.

    Exponents are differences of cumulative sums of negative numbers, so at most zero in the lower triangle. The upper
    triangle holds large positive values whose exp would be inf and whose gradient nan: minus infinity is added to them
    before exp.
    """
    batch, length, heads, width = x.shape
    pad = -length % chunk
    if pad:
        x, dt = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(dt, (0, 0, 0, pad))
        b, c = F.pad(b, (0, 0, 0, pad)), F.pad(c, (0, 0, 0, pad))
    n = x.shape[1] // chunk
    xd = (x * dt[..., None]).reshape(batch, n, chunk, heads, width).permute(0, 1, 3, 2, 4)  # (B,n,H,Q,P)
    log_decay = (dt * a).reshape(batch, n, chunk, heads).permute(0, 1, 3, 2)  # (B,n,H,Q)
    b, c = b.reshape(batch, n, chunk, -1), c.reshape(batch, n, chunk, -1)
    total = log_decay.cumsum(-1)
    later = torch.full((chunk, chunk), -torch.inf, dtype=total.dtype, device=x.device).triu(1)
    weight = (total[..., :, None] - total[..., None, :]).add_(later).exp_()  # (B,n,H,Q,Q)
    score = torch.einsum("bnqs,bnks->bnqk", c, b)[:, :, None]
    inside = (weight * score) @ xd  # (B,n,H,Q,P)
    # What each chunk leaves behind at its end, and what has come in from the chunks before.
    to_end = torch.exp((total[..., -1:] - total).clamp(max=0.0))
    left = torch.einsum("bnqs,bnhqp->bnhps", b, xd * to_end[..., None])  # (B,n,H,P,S)
    carry = torch.exp(total[..., -1])  # (B,n,H)
    state = x.new_zeros(batch, heads, width, b.shape[-1])
    states = []
    for i in range(n):
        states.append(state)
        state = carry[:, i, :, None, None] * state + left[:, i]
    entering = torch.stack(states, dim=1)  # (B,n,H,P,S)
    from_before = torch.einsum("bnqs,bnhps->bnhqp", c, entering) * torch.exp(total)[..., None]
    y = (inside + from_before).permute(0, 1, 3, 2, 4).reshape(batch, n * chunk, heads, width)
    return y[:, :length]
