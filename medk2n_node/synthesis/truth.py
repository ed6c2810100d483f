"""How near a synthetic series came to the real one that arrived later: registered, inside the brain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_rules.errors import GeometryError
from dicom_rules.geometry import Volume
from medk2n_node.synthesis.sources import read_volume

CLEARLY_BRAIN = 1000
"""Fewer common voxels than this measure nothing."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """PSNR in dB and mean absolute error in units of the real series' 99.5th percentile inside the brain.

    Both images are divided by their own reference value (the synthetic one by what the model states for it) and
    clipped to 0..1, as everywhere in this project. None, with the reason in `words`, where nothing could be measured.
    """

    psnr_db: float | None
    error: float | None
    voxels: int
    words: str


def measure(synthetic: Sequence[Path], truth: Sequence[Path], *, contrast: str, scale: float) -> Measured:
    """Compare the files of a synthetic series with those of a real one.

    Args:
        scale: the stored value of the synthetic series that stands for the 99.5th percentile.
    """
    import model

    try:
        made, real = read_volume(synthetic), read_volume(truth)
        return compare_volumes(made, real, contrast=contrast, scale=scale)
    except GeometryError as error:
        reason = f"{error.subject}: {error.reason}"
    except model.ImagingError as error:
        reason = f"{error.subject}: {error.reason}"
    return Measured(psnr_db=None, error=None, voxels=0, words=f"The error could not be measured ({reason}).")


def compare_volumes(made: Volume, real: Volume, *, contrast: str, scale: float) -> Measured:
    """The same for volumes; raises ImagingError where there is no brain to measure in."""
    from model.imaging import Image, brain_mask, normalise, register, resample

    fixed, moving = (
        Image(array=one.array, affine=one.affine, frame_of_reference=one.frame_of_reference_uid or None)
        for one in (real, made)
    )
    # The real series is the measure, so the synthetic one is brought to it, and its brain decides.
    brain = brain_mask(fixed, subject=f"the real {contrast}").mask
    if moving.same_grid(fixed):
        aligned, how = moving, "They lie on one grid."
        inside = brain
    else:
        mask = brain_mask(moving, subject=f"the synthetic {contrast}").mask
        found = register(moving, fixed, brain, moving_mask=mask, fixed_in_place=False)
        if not found.accepted:
            words = f"The error could not be measured ({found.sentence.rstrip('.')})."
            return Measured(psnr_db=None, error=None, voxels=0, words=words)
        aligned, how = resample(moving, fixed, found.transform), found.sentence
        # Outside the synthetic field of view there is nothing to compare.
        seen = moving.with_array(np.ones(moving.array.shape, np.float32))
        inside = brain & (resample(seen, fixed, found.transform, order=1).array > 0.99)
    voxels = int(inside.sum())
    if voxels < CLEARLY_BRAIN:
        words = f"The error could not be measured (only {voxels} voxels of brain lie in both)."
        return Measured(psnr_db=None, error=None, voxels=voxels, words=words)
    wanted, _ = normalise(fixed.array, brain, contrast, subject=f"the real {contrast}")
    unit = float(np.percentile(wanted[brain], 99.5))
    difference = np.clip(aligned.array / scale, 0.0, 1.0) - np.clip(wanted / max(unit, 1e-6), 0.0, 1.0)
    error = difference[inside].astype(np.float64)
    return Measured(
        psnr_db=round(float(-10.0 * np.log10(max(float(np.mean(error**2)), 1e-12))), 3),
        error=round(float(np.mean(np.abs(error))), 5),
        voxels=voxels,
        words=how,
    )
