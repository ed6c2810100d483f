"""MR signal from tissue: what a contrast looks like when it is computed instead of scanned.

In: tissue fractions per voxel and a pulse sequence. Out: the noise-free magnitude image.
Never: files, randomness, torch. Noise, coil bias and patients are the caller's business.
"""

from __future__ import annotations

from training.simulation.signal import (
    DiffusionWeighted,
    InversionRecovery,
    Mprage,
    Sequence,
    SpinEcho,
    SpoiledGradientEcho,
    apparent_diffusion,
    signal,
    simulate,
)
from training.simulation.tissues import FIELDS_T, TISSUE_NAMES, Tissue, tissue_table, with_agent

__all__ = [
    "FIELDS_T",
    "TISSUE_NAMES",
    "DiffusionWeighted",
    "InversionRecovery",
    "Mprage",
    "Sequence",
    "SpinEcho",
    "SpoiledGradientEcho",
    "Tissue",
    "apparent_diffusion",
    "signal",
    "simulate",
    "tissue_table",
    "with_agent",
]
