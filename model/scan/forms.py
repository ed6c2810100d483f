"""Which of the three forms of the scan runs, and the third: mamba_ssm's CUDA kernel (extra `cuda`).

All three compute the same sum from the same parameters: `ssd_recurrence` steps in float64 and is the oracle,
`ssd_chunked` is PyTorch and runs anywhere, `ssd_kernel` is Triton and runs on CUDA where mamba_ssm is installed.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from model.scan.ssd import ssd_chunked, ssd_recurrence

#: Steps of a chunk in the kernel, which computes on tiles of at least this length.
KERNEL_CHUNK = 64


class ScanForm(enum.Enum):
    """How the scan is computed."""

    RECURRENCE = "recurrence"  #: step by step, float64
    CHUNKED = "chunked"  #: matrix products over chunks
    KERNEL = "kernel"  #: mamba_ssm's Triton kernel


@functools.cache
def _kernel() -> Callable[..., Tensor] | None:
    """mamba_ssm's function; None where it is not installed, or not compiled for this machine."""
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError:
        return None
    return mamba_chunk_scan_combined


def scan_form(device: torch.device | str) -> ScanForm:
    """The form that runs on a device: the kernel on CUDA where it can be imported, chunks everywhere else."""
    return ScanForm.KERNEL if torch.device(device).type == "cuda" and _kernel() else ScanForm.CHUNKED


def ssd_kernel(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, chunk: int = KERNEL_CHUNK
) -> Tensor:
    """The kernel with the arguments and the result of `ssd_chunked` (one group of B and C; no softplus, bias or z).

    Raises:
        ImportError: mamba_ssm is not there, or not compiled for this machine.
    """
    kernel = _kernel()
    if kernel is None:
        raise ImportError(
            "mamba_ssm's CUDA kernel cannot be imported; install the extra `cuda` on a CUDA machine"
        )
    return kernel(x, dt, a, b[:, :, None], c[:, :, None], chunk, D=d)


_FORMS: dict[ScanForm, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    ScanForm.RECURRENCE: ssd_recurrence,
    ScanForm.CHUNKED: ssd_chunked,
    ScanForm.KERNEL: ssd_kernel,
}


def scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, form: ScanForm | None = None
) -> Tensor:
    """(B, L, H, P) in the dtype of x; `form` by default as `scan_form` says for x's device."""
    return _FORMS[form or scan_form(x.device)](x, dt, a, b, c, d).to(x.dtype)
