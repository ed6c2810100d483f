"""Prepare a patient exactly as the node prepares a study: the same grid, registration, mask and normalisation.

What cannot be used is left out with its reason and what there is to look at; the rest of the study is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from model import CONTRASTS, Image, ImagingError
from model.imaging import (
    BrainMask,
    Registration,
    WorkingGrid,
    brain_mask,
    normalise,
    register,
    resample,
    working_grid,
)
from model.imaging.grid import ISOTROPIC_RATIO, plane_of
from training.archive.case import Case
from training.archive.manifest import digest_of
from training.archive.volumes import read_nifti

#: The brain is found most reliably on T1 (on T2 the mask takes part of an eye along).
MASK_ORDER = ("T1", "T1C", "FLAIR", "T2", "DWI", "ADC")
#: Sagittal or coronal slices further apart than this make a poor grid (as in the node's choice of a reference).
GOOD_GRID_MM = 2.5


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A series that is left out: `code` and `reason` in words, and what to look at.

    `fixed` is the reference on its grid, `moving` the series there, as far as it was brought there; else None.
    """

    contrast: str
    code: str
    reason: str
    fixed: Image | None = field(default=None, repr=False)
    moving: Image | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What became of a study: `case` is None where fewer than two contrasts are left."""

    case: Case | None
    excluded: tuple[Excluded, ...]
    reference: str | None
    steps: dict[str, str]
    """contrast -> what was done to lay it on the reference."""


def prepare_images(
    images: Mapping[str, Image],
    *,
    name: str,
    lesion: Image | None = None,
    reference: str | None = None,
    patient: str = "",
    site: str = "unknown",
    origin: Mapping[str, str] | None = None,
) -> Prepared:
    """The images of one study, by contrast and each on its own grid -> a case on the reference's working grid.

    Args:
        lesion: a mask on the grid of one of the images (it moves with that image) or in the reference's space.
        reference: the contrast whose grid is used; by default the first of MASK_ORDER that has a good grid.
    """
    left_out = _copies(images)
    images = {c: image for c, image in images.items() if c not in {one.contrast for one in left_out}}
    found = _reference(images, name, reference, left_out)
    if found is None:
        return Prepared(case=None, excluded=tuple(left_out), reference=None, steps={})
    chosen, grid, brain = found
    aligned, registrations = {chosen: grid.grid}, {}
    gone = {one.contrast for one in left_out}
    for contrast in (c for c in CONTRASTS if c in images and c != chosen and c not in gone):
        try:
            result = _lay(images[contrast], contrast, images[chosen], grid.grid, brain, name)
            there = resample(images[contrast], grid.grid, result.transform)
        except ImagingError as error:
            left_out.append(_out(contrast, error, grid.grid, images[contrast]))
            continue
        if result.accepted:
            aligned[contrast], registrations[contrast] = there, result
        else:
            left_out.append(
                Excluded(
                    contrast=contrast,
                    code="registration",
                    reason=result.sentence,
                    fixed=grid.grid,
                    moving=there,
                )
            )
    case = _case(
        aligned, registrations, images, chosen, brain, left_out, name=name, lesion=lesion,
        patient=patient, site=site, origin=dict(origin or {}),
    )  # fmt: skip
    steps = {contrast: one.sentence for contrast, one in registrations.items() if contrast in aligned}
    return Prepared(case=case, excluded=tuple(left_out), reference=chosen, steps=steps)


def _reference(
    images: Mapping[str, Image], name: str, wanted: str | None, left_out: list[Excluded]
) -> tuple[str, WorkingGrid, BrainMask] | None:
    """The reference with its grid and its brain; candidates in which no brain is found are left out."""
    order = [c for c in MASK_ORDER if c in images]
    order.sort(key=lambda c: not _good_grid(images[c]))
    for contrast in [wanted, *(c for c in order if c != wanted)] if wanted else order:
        try:
            grid = working_grid(images[contrast])
            return contrast, grid, brain_mask(grid.grid, subject=f"{name} {contrast}")
        except ImagingError as error:
            left_out.append(_out(contrast, error, None, images[contrast]))
    return None


def _good_grid(image: Image) -> bool:
    """Axial slices, voxels that are nearly cubes, or thin slices."""
    spacing = image.spacing
    cubic = max(spacing) / min(spacing) < ISOTROPIC_RATIO
    return cubic or plane_of(image) == "axial" or max(spacing) <= GOOD_GRID_MM


def _lay(
    image: Image, contrast: str, reference: Image, grid: Image, brain: BrainMask, name: str
) -> Registration:
    """One image onto the grid, by the brain that the coarse network finds in it, and the whole method if need be."""
    subject = f"{name} {contrast}"
    if image.same_grid(reference):
        return register(image, grid, brain.mask, fixed_in_place=True)
    try:
        own = brain_mask(image, subject=subject, coarse=True)
    except ImagingError as error:
        if error.code != "not_a_brain":
            raise
        own = brain_mask(image, subject=subject)
    result = register(image, grid, brain.mask, moving_mask=own.mask)
    if own.coarse and not result.accepted:
        # Nothing is left out on the word of the coarse mask alone.
        own = brain_mask(image, subject=subject)
        result = register(image, grid, brain.mask, moving_mask=own.mask)
    return result


def _out(contrast: str, error: ImagingError, fixed: Image | None, moving: Image) -> Excluded:
    return Excluded(contrast=contrast, code=error.code, reason=error.reason, fixed=fixed, moving=moving)


def _copies(images: Mapping[str, Image]) -> list[Excluded]:
    """Contrasts that are another one voxel for voxel: converters fill a missing channel with its neighbour."""
    found: list[Excluded] = []
    originals: list[str] = []
    for contrast in (c for c in MASK_ORDER if c in images):
        one = images[contrast]
        twin = next(
            (
                other
                for other in originals
                if one.same_grid(images[other]) and np.array_equal(one.array, images[other].array)
            ),
            None,
        )
        if twin is None:
            originals.append(contrast)
        else:
            reason = f"It is a copy of the {twin}, voxel for voxel."
            found.append(
                Excluded(contrast=contrast, code="copy", reason=reason, fixed=images[twin], moving=one)
            )
    return found


def _case(
    aligned: dict[str, Image],
    registrations: Mapping[str, Registration],
    images: Mapping[str, Image],
    reference: str,
    brain: BrainMask,
    left_out: list[Excluded],
    *,
    name: str,
    lesion: Image | None,
    patient: str,
    site: str,
    origin: dict[str, str],
) -> Case | None:
    grid = aligned[reference]
    mask = _best_mask(aligned, reference, brain, name)
    contrasts: dict[str, npt.NDArray[np.float16]] = {}
    quantiles: dict[str, tuple[float, ...]] = {}
    for contrast in (c for c in CONTRASTS if c in aligned):
        try:
            values, record = normalise(
                aligned[contrast].array, mask.mask, contrast, subject=f"{name} {contrast}"
            )
        except ImagingError as error:
            left_out.append(_out(contrast, error, grid, aligned.pop(contrast)))
            continue
        contrasts[contrast], quantiles[contrast] = values.astype(np.float16), record.quantiles
    if len(contrasts) < 2:
        return None
    spacing = grid.spacing
    drawn_on = _refused_below(lesion, images, reference, registrations)
    if drawn_on is not None:
        reason = f"It was drawn on the {drawn_on}, which could not be laid on the others."
        left_out.append(Excluded(contrast="lesion", code="drawn_elsewhere", reason=reason))
        lesion = None
    return Case(
        name=name,
        contrasts=contrasts,
        brain=mask.mask,
        lesion=_lesion(lesion, grid, images, reference, registrations),
        quantiles=quantiles,
        spacing=spacing,
        stripped=mask.stripped,
        isotropic=max(spacing) / min(spacing) < ISOTROPIC_RATIO,
        origin=origin,
        patient=patient,
        site=site,
    )


def _best_mask(aligned: Mapping[str, Image], reference: str, brain: BrainMask, name: str) -> BrainMask:
    """The brain where it is found most reliably; the reference's own where it is found nowhere better."""
    for best in MASK_ORDER:
        if best == reference:
            break
        if best in aligned:
            try:
                return brain_mask(aligned[best], subject=f"{name} {best}")
            except ImagingError:
                continue  # cut by the reference's field of view; the next one may show it whole
    return brain


def _lesion(
    lesion: Image | None,
    grid: Image,
    images: Mapping[str, Image],
    reference: str,
    registrations: Mapping[str, Registration],
) -> npt.NDArray[np.bool_]:
    """The lesion on the grid, moved as the image on which it was drawn."""
    if lesion is None:
        return np.zeros(grid.array.shape, bool)
    transform: sitk.Transform = sitk.Transform(3, sitk.sitkIdentity)
    if not lesion.same_grid(images[reference]):
        drawn_on = next((c for c in registrations if lesion.same_grid(images[c])), None)
        if drawn_on is not None:
            transform = registrations[drawn_on].transform
    return resample(lesion, grid, transform, order=0).array > 0.5


def _refused_below(
    lesion: Image | None,
    images: Mapping[str, Image],
    reference: str,
    registrations: Mapping[str, Registration],
) -> str | None:
    """The image that a lesion was drawn on, where that one has no place on the grid: neither has the lesion then."""
    if lesion is None:
        return None
    drawn_on = [c for c in images if lesion.same_grid(images[c])]
    placed = any(c == reference or c in registrations for c in drawn_on)
    return None if placed or not drawn_on else drawn_on[0]


def prepare_folder(folder: Path, reference: str | None = None) -> Case:
    """A folder of `<CONTRAST>.nii.gz` (and `lesion.nii.gz`) -> a case on the reference's working grid.

    Raises:
        ImagingError: a series that does not register, or is blank: the case is not used.
    """
    files = {c: folder / f"{c}.nii.gz" for c in CONTRASTS if (folder / f"{c}.nii.gz").exists()}
    lesion = folder / "lesion.nii.gz"
    made = prepare_images(
        {contrast: read_nifti(path) for contrast, path in files.items()},
        name=folder.name,
        lesion=read_nifti(lesion) if lesion.exists() else None,
        reference=reference,
        origin={path.name: digest_of(path) for path in files.values()},
    )
    if made.excluded:
        first = made.excluded[0]
        raise ImagingError(
            code=first.code,
            subject=f"{folder.name} {first.contrast}",
            reason=first.reason,
            cure="Leave the series out, or register it beforehand.",
        )
    if made.case is None:
        raise ImagingError(
            code="one_contrast",
            subject=folder.name,
            reason=f"it holds {', '.join(files) or 'no contrast'}, and a translation needs two",
            cure="Add a second contrast.",
        )
    return made.case
