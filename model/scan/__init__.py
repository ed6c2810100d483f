"""MultiScaleNet and what it scans with: Fermat-spiral order and the Mamba-2 state-space scan.

In: encoder features at strides 4, 8, 16, 32. Out: one map F at stride 4, (B, D, h, w).
"""

from __future__ import annotations

from model.scan.fermat import fermat_order
from model.scan.forms import ScanForm, scan, scan_form, ssd_kernel
from model.scan.mamba import Mamba2
from model.scan.multiscale import MultiScaleNet
from model.scan.ssd import ssd_chunked, ssd_recurrence

__all__ = [
    "Mamba2",
    "MultiScaleNet",
    "ScanForm",
    "fermat_order",
    "scan",
    "scan_form",
    "ssd_chunked",
    "ssd_kernel",
    "ssd_recurrence",
]
