"""A few small heads as DICOM studies, and preprocessing that takes no time: for tests of what happens around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from medk2n_node.demo.study import ScannedSeries, write_study
from model import Image, ImagingError
from model.imaging import BrainMask, Registration
from tests.dicom_archive import identity

SHAPE = (10, 48, 40)
AFFINE = np.array([[1.25, 0, 0, -25], [0, 1.25, 0, -30], [0, 0, 6.0, -30], [0, 0, 0, 1]], dtype=np.float64)


def small_head(number: int, contrast: str) -> npt.NDArray[np.uint16]:
    """An ellipsoid with a ramp, in every patient and contrast another one; 0 outside."""
    z, y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1], 0 : SHAPE[2]]
    inside = ((z - 4.5) / 4.6) ** 2 + ((y - 24) / 20) ** 2 + ((x - 20) / 16) ** 2 < 1
    ramp = 300 + 10 * y + 5 * x * (1 + len(contrast)) + 40 * np.sin(z + number) + 20 * (ord(contrast[-1]) % 7)
    return np.where(inside, ramp, 0).astype(np.uint16)


def small_archive(out: Path, patients: dict[int, Sequence[str]]) -> Path:
    """Patient's number -> contrasts, one study each."""
    for number, contrasts in patients.items():
        series = [
            ScannedSeries(contrast=contrast, array=small_head(number, contrast), affine=AFFINE)
            for contrast in contrasts
        ]
        write_study(out / f"{number:03d}", *series, key=f"small {number}", patient=identity(number))
    return out


def quick_brain_mask(image: Image, *, subject: str, coarse: bool = False) -> BrainMask:
    """Everything above zero; blank images are refused as by the real one."""
    if float(image.array.max()) <= float(image.array.min()):
        raise ImagingError(
            code="blank", subject=subject, reason="there is no image in it", cure="Send it again."
        )
    mask = image.array > 0
    return BrainMask(mask=mask, stripped=True, volume_ml=1200.0, coarse=False)


def quick_register(
    moving: Image,
    fixed: Image,
    fixed_mask: npt.NDArray[np.bool_],
    *,
    moving_mask: npt.NDArray[np.bool_] | None = None,
    fixed_in_place: bool = False,
) -> Registration:
    """Takes every image as aligned, but for one that is shifted by more than its field of view."""
    far = float(np.linalg.norm(moving.affine[:3, 3] - fixed.affine[:3, 3])) > 100
    return Registration(
        transform=sitk.Transform(3, sitk.sitkIdentity),
        translation_mm=0.0,
        rotation_deg=0.0,
        similarity=1.0,
        coverage=1.0,
        accepted=not far,
        sentence="Registration not accepted: it lies elsewhere." if far else "Lies on the reference already.",
    )
