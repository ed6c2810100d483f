"""The Mamba-2 mixer (arXiv 2405.21060) around the scan.

Parameter names, shapes and row order are those of mamba_ssm's Mamba2 (in_proj rows z, x, B, C, dt), so that one state
dict serves every form of the scan, and that package's own module.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.scan.forms import ScanForm, scan


class Mamba2(nn.Module):
    """One Mamba-2 mixer over a sequence, (B, L, D) -> (B, L, D); `form`: how it scans, by device where None."""

    form: ScanForm | None = None

    def __init__(
        self, width: int, inner: int = 128, head: int = 32, state: int = 16, kernel: int = 4
    ) -> None:
        super().__init__()
        self.inner, self.head, self.state, self.heads = inner, head, state, inner // head
        self.in_proj = nn.Linear(width, 2 * inner + 2 * state + self.heads, bias=False)
        mixed = inner + 2 * state
        self.conv1d = nn.Conv1d(mixed, mixed, kernel, groups=mixed, padding=kernel - 1)
        step = torch.exp(torch.linspace(math.log(1e-3), math.log(1e-1), self.heads))
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # softplus inverse
        self.A_log = nn.Parameter(torch.log(torch.linspace(1, 8, self.heads)))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = nn.Module()
        self.norm.weight = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        batch, length, _ = u.shape
        z, mixed, dt = self.in_proj(u).split([self.inner, self.inner + 2 * self.state, self.heads], dim=-1)
        mixed = F.silu(self.conv1d(mixed.transpose(1, 2))[..., :length].transpose(1, 2))
        x, b, c = mixed.split([self.inner, self.state, self.state], dim=-1)
        with torch.autocast(u.device.type, enabled=False):
            x = x.float().reshape(batch, length, self.heads, self.head)
            dt = F.softplus(dt.float() + self.dt_bias)
            y = scan(x, dt, -torch.exp(self.A_log.float()), b.float(), c.float(), self.form)
            y = (y + self.D[:, None] * x).reshape(batch, length, self.inner)
            y = y * F.silu(z.float())
            y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5) * self.norm.weight
        return torch.as_tensor(self.out_proj(y.to(u.dtype)))
