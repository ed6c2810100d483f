"""Single axial slices, as 2-D data sets publish them, as a case of unconnected slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from model import CONTRASTS
from model.imaging import normalise
from model.imaging.brain import largest_component
from training.archive.case import Case
from training.archive.manifest import digest_of


def slice_brain(
    flair: npt.NDArray[np.float32], head: npt.NDArray[np.bool_], pixel_mm: float = 0.9
) -> npt.NDArray[np.bool_]:
    """Brain of one axial slice with its skull, by morphology: no 3-D network can see a single slice.

    The scalp and skull, about 11 mm deep, are eroded away; of what is left the bright connected part is the brain.
    """
    image = sitk.GetImageFromArray(head.astype(np.uint8))
    image = sitk.BinaryFillhole(image)
    inner = sitk.BinaryErode(image, [round(11 / pixel_mm)] * 2)
    region = sitk.GetArrayFromImage(inner).astype(bool)
    if not region.any():
        return region
    middle = float(np.median(flair[region]))
    tissue = region & (flair > 0.45 * middle)
    opened = sitk.BinaryMorphologicalOpening(sitk.GetImageFromArray(tissue.astype(np.uint8)), [3, 3])
    kept = largest_component(sitk.GetArrayFromImage(opened).astype(bool)[None])[0]
    closed = sitk.BinaryMorphologicalClosing(sitk.GetImageFromArray(kept.astype(np.uint8)), [9, 9])
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(closed))).astype(bool) & region


def prepare_slices(path: Path, *, with_skull: bool, thickness_mm: float) -> Case:
    """A .npz of single axial slices (t1, t1c, t2, flair, mask, lesion) -> a case of unconnected slices."""
    with np.load(path) as z:
        raw = {c: z[c.lower()].astype(np.float32) for c in CONTRASTS if c.lower() in z.files}
        head = z["mask"] > 0
        lesion = z["lesion"] > 0 if "lesion" in z.files else np.zeros(head.shape, bool)
    if with_skull:
        brain = np.stack([slice_brain(f, h) for f, h in zip(raw["FLAIR"], head, strict=True)])
    else:
        brain = head
    contrasts, quantiles = {}, {}
    for contrast, array in raw.items():
        values, record = normalise(array, brain, contrast, subject=f"{path.stem} {contrast}")
        contrasts[contrast] = values.astype(np.float16)
        quantiles[contrast] = record.quantiles
    return Case(
        name=path.stem,
        contrasts=contrasts,
        brain=brain,
        lesion=lesion,
        quantiles=quantiles,
        spacing=(0.9, 0.9, thickness_mm),
        stripped=not with_skull,
        isotropic=False,
        origin={path.name: digest_of(path)},
    )
