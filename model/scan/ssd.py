"""Mamba-2's state-space duality (SSD, arXiv 2405.21060) in two forms with one set of parameters.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t,    y_t = C_t h_t + D x_t

`ssd_recurrence` steps through time in float64: the oracle. `ssd_chunked` does the same sum by matrix products over
chunks of Q steps: what runs on CPU and on any GPU. The third form, and the choice, stand in `model.scan.forms`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: Steps of a chunk: what is computed inside one grows with its length; 32 is the fastest on a CPU.
CHUNK = 32


def ssd_recurrence(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The recurrence itself, in float64.

    Args:
        x: (B, L, H, P) inputs; dt: (B, L, H) positive steps; a: (H,) negative; b, c: (B, L, N) one group; d: (H,).

    Returns:
        (B, L, H, P) float64.
    """
    x, dt, a, b, c, d = (v.double() for v in (x, dt, a, b, c, d))
    batch, length, heads, width = x.shape
    state = x.new_zeros(batch, heads, width, b.shape[-1])
    out = []
    for t in range(length):
        decay = torch.exp(dt[:, t] * a)[:, :, None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * b[:, t, None, None, :]
        out.append((state * c[:, t, None, None, :]).sum(-1) + d[:, None] * x[:, t])
    return torch.stack(out, dim=1)


def ssd_chunked(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, chunk: int = CHUNK
) -> Tensor:
    """The same sum by chunks: inside a chunk a masked product, between chunks a short recurrence.

    Exponents are differences of cumulative sums of negative numbers, so at most zero in the lower triangle. The upper
    triangle holds large positive values whose exp would be inf and whose gradient nan: minus infinity is added to them
    before exp. Head by head, so that the products read the heads where they lie and no tensor is laid out anew.
    """
    batch, length, heads, width = x.shape
    pad = -length % chunk
    if pad:
        x, dt = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(dt, (0, 0, 0, pad))
        b, c = F.pad(b, (0, 0, 0, pad)), F.pad(c, (0, 0, 0, pad))
    n, states = x.shape[1] // chunk, b.shape[-1]
    inputs = [
        head.unflatten(1, (n, chunk)).flatten(0, 1) for head in x.unbind(2)
    ]  # H times (Bn, Q, P), views
    b, c = (v.unflatten(1, (n, chunk)).flatten(0, 1) for v in (b, c))  # (Bn, Q, N)
    # Powers of two: exp itself takes five to twenty times as long on a CPU where results underflow.
    total = (
        (dt * (a * math.log2(math.e))).unflatten(1, (n, chunk)).cumsum(2)
    )  # (B, n, Q, H), log of the decay
    last = total[:, :, -1]  # (B, n, H)
    decay = total.permute(3, 0, 1, 2).flatten(1, 2).contiguous()  # (H, Bn, Q)
    # dt_s x_s B_s: the step enters with the decay, as its logarithm.
    entry = decay - dt.permute(2, 0, 1).reshape(decay.shape).clamp_min(1e-30).log2()
    similar = c @ b.transpose(1, 2)  # (Bn, Q, Q)
    later = torch.full((chunk, chunk), -torch.inf, dtype=total.dtype, device=x.device).triu(1)
    own = torch.eye(chunk, dtype=total.dtype, device=x.device)  # D x, on the diagonal
    inside, left = [], []
    for head, rows, columns, skip in zip(inputs, decay, entry, d, strict=True):
        falling = torch.exp2((rows[:, :, None] - columns[:, None]).add_(later))
        weight = torch.addcmul(skip * own, falling, similar)  # (Bn, Q, Q)
        inside.append(weight @ head)
        # What each chunk leaves behind at its end. B and C are the narrow factors: the decays are multiplied into
        # them, not into x and y.
        to_end = torch.exp2(rows[:, -1:] - columns)[:, :, None]
        left.append((b * to_end).transpose(1, 2) @ head)  # (Bn, N, P)
    arriving = torch.stack(left, dim=1).unflatten(0, (batch, n))  # (B, n, H, N, P)
    carry = torch.exp2(last)[..., None, None]
    state = arriving.new_zeros(batch, heads, states, width)
    entering = []
    for i in range(n):
        entering.append(state)
        state = torch.addcmul(arriving[:, i], carry[:, i], state)
    before = torch.stack(entering, dim=1).flatten(0, 1)  # (Bn, H, N, P)
    y = [
        part.baddbmm_(c * torch.exp2(rows)[:, :, None], before[:, head])
        for head, (part, rows) in enumerate(zip(inside, decay, strict=True))
    ]
    return torch.cat(y, dim=-1).reshape(batch, n * chunk, heads, width)[:, :length]
