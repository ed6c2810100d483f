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
        # A product for each part: the slices of one product would be copied before anything else could use them.
        parts = self.in_proj.weight.split([self.inner, self.inner + 2 * self.state, self.heads])
        z, mixed, dt = (F.linear(u, part) for part in parts)
        mixed = self._causal(mixed)
        x, b, c = mixed.split([self.inner, self.state, self.state], dim=-1)
        with torch.autocast(u.device.type, enabled=False):
            x = x.float().reshape(batch, length, self.heads, self.head)
            dt = F.softplus(dt.float() + self.dt_bias)
            y = scan(x, dt, -torch.exp(self.A_log.float()), b.float(), c.float(), self.D.float(), self.form)
            y = y.reshape(batch, length, self.inner).mul_(F.silu(z.float(), inplace=True))
            # Root mean square norm: a factor of each row, which commutes with the projection behind it, and its weight
            # folds into that projection.
            size = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
            scale = torch.rsqrt(size.square() / self.inner + 1e-5)
            project = self.out_proj.weight.float() * torch.as_tensor(self.norm.weight)
        return F.linear(y.to(u.dtype), project.to(u.dtype)) * scale.to(u.dtype)

    def _causal(self, u: Tensor) -> Tensor:
        """SiLU of the depthwise convolution over time, (B, L, C) -> same, as over an image of one row."""
        later = self.conv1d.weight.shape[-1] - 1
        # Weights of zero for what comes later: as many steps come out as go in, which oneDNN computes in half the time
        # of a convolution with `later` steps more, and nothing is cut off.
        kernel = F.pad(self.conv1d.weight, (0, later))[:, :, None]
        rows = u.transpose(1, 2)[:, :, None]
        rows = F.conv2d(rows, kernel, self.conv1d.bias, padding=(0, later), groups=u.shape[-1])
        # Not rows[:, :, 0]: the gradient of a selection is laid out anew.
        return F.silu(rows, inplace=True).squeeze(2).transpose(1, 2)
