"""Mamba-2's state-space duality (SSD, arXiv 2405.21060) in two forms with one set of parameters.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t,    y_t = C_t h_t + D x_t

`ssd_recurrence` steps through time in float64: the oracle. `ssd_chunked` does the same sum by matrix products over
chunks of Q steps: what runs on CPU and on any GPU. The third form, and the choice, stand in `model.scan.forms`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Steps of a chunk: what is computed inside one grows with its length; 32 is the fastest on a CPU.
CHUNK = 32


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
    n, states = x.shape[1] // chunk, b.shape[-1]
    xd = (x * dt[..., None]).reshape(batch, n, chunk, heads, width).transpose(2, 3).flatten(0, 2)  # (BnH,Q,P)
    total = (dt * a).reshape(batch, n, chunk, heads).transpose(2, 3).cumsum(-1)  # (B,n,H,Q), log of the decay
    b, c = b.reshape(batch, n, 1, chunk, states), c.reshape(batch, n, 1, chunk, states)
    later = torch.full((chunk, chunk), -torch.inf, dtype=total.dtype, device=x.device).triu(1)
    weight = (total[..., :, None] - total[..., None, :]).add_(later).exp_()  # (B,n,H,Q,Q)
    inside = (weight * (c @ b.transpose(-1, -2))).flatten(0, 2) @ xd  # (BnH,Q,P)
    # What each chunk leaves behind at its end, and what has come in from the chunks before. B and C are the narrow
    # factors: the decays are multiplied into them, not into x and y.
    to_end = torch.exp((total[..., -1:] - total).clamp(max=0.0))
    left = (b * to_end[..., None]).flatten(0, 2).transpose(1, 2) @ xd  # (BnH,S,P)
    left = left.unflatten(0, (batch, n, heads))
    carry = torch.exp(total[..., -1])[..., None, None]  # (B,n,H,1,1)
    state = x.new_zeros(batch, heads, states, width)
    entering = []
    for i in range(n):
        entering.append(state)
        state = carry[:, i] * state + left[:, i]
    before = torch.stack(entering, dim=1).flatten(0, 2)  # (BnH,S,P)
    y = torch.baddbmm(inside, (c * torch.exp(total)[..., None]).flatten(0, 2), before)
    y = y.unflatten(0, (batch, n, heads)).transpose(2, 3).reshape(batch, n * chunk, heads, width)
    return y[:, :length]
