"""Prepare a patient exactly as the node prepares a study: the same grid, registration, mask and normalisation."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from model import CONTRASTS, Image, ImagingError
from model.imaging import brain_mask, normalise, register, resample, working_grid
from model.imaging.brain import largest_component
from training.archive.case import Case

#: The brain is found most reliably on T1 (on T2 the mask takes part of an eye along).
MASK_ORDER = ("T1", "T1C", "FLAIR", "T2", "DWI", "ADC")


def read_nifti(path: Path) -> Image:
    """A NIfTI volume as an `Image`: RAS affine to LPS, array to (slice, row, column)."""
    nifti = nibabel.load(path)
    data = np.asarray(nifti.get_fdata(dtype=np.float32))
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ImagingError(
            code="shape",
            subject=path.name,
            reason=f"holds {data.ndim} dimensions {data.shape}",
            cure="Give one 3-D volume.",
        )
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(nifti.affine, dtype=np.float64)
    return Image(array=np.ascontiguousarray(data.transpose(2, 1, 0)), affine=affine)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prepare_folder(folder: Path, reference: str | None = None) -> Case:
    """A folder of `<CONTRAST>.nii.gz` (and `lesion.nii.gz`) -> a case on the reference's working grid.

    Raises:
        ImagingError: a series that does not register, or is blank: the case is not used.
    """
    files = {c: folder / f"{c}.nii.gz" for c in CONTRASTS if (folder / f"{c}.nii.gz").exists()}
    images = {c: read_nifti(path) for c, path in files.items()}
    reference = reference or next(c for c in MASK_ORDER if c in images)
    grid = working_grid(images[reference])
    aligned = {reference: grid.grid}
    found = brain_mask(grid.grid, subject=f"{folder.name} {reference}")
    for contrast, image in images.items():
        if contrast == reference:
            continue
        in_place = image.same_grid(images[reference])
        own = None if in_place else brain_mask(image, subject=f"{folder.name} {contrast}").mask
        result = register(image, grid.grid, found.mask, moving_mask=own, fixed_in_place=in_place)
        if not result.accepted:
            raise ImagingError(
                code="registration",
                subject=f"{folder.name} {contrast}",
                reason=result.sentence,
                cure="Leave the series out, or register it beforehand.",
            )
        aligned[contrast] = resample(image, grid.grid, result.transform)
    best = next(c for c in MASK_ORDER if c in aligned)
    mask = found if best == reference else brain_mask(aligned[best], subject=f"{folder.name} {best}")
    contrasts, quantiles = {}, {}
    for contrast, image in aligned.items():
        values, record = normalise(image.array, mask.mask, contrast, subject=f"{folder.name} {contrast}")
        contrasts[contrast] = values.astype(np.float16)
        quantiles[contrast] = record.quantiles
    lesion = np.zeros(mask.mask.shape, bool)
    lesion_file = folder / "lesion.nii.gz"
    if lesion_file.exists():
        near = resample(read_nifti(lesion_file), grid.grid, sitk.Transform(), order=0)
        lesion = near.array > 0.5
    spacing = grid.grid.spacing
    return Case(
        name=folder.name,
        contrasts=contrasts,
        brain=mask.mask,
        lesion=lesion,
        quantiles=quantiles,
        spacing=spacing,
        stripped=mask.stripped,
        isotropic=max(spacing) / min(spacing) < 1.7,
        origin={p.name: _digest(p) for p in files.values()},
    )


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
        origin={path.name: _digest(path)},
    )
