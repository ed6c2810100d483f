"""Images from files for `medk2n synthesize`: a NIfTI file or a folder of one DICOM series, and results as NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_rules.classify import main_stack
from dicom_rules.geometry import to_volume
from medk2n_node.errors import InputError

if TYPE_CHECKING:
    from model import Image

_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_image(path: Path, contrast: str | None = None) -> tuple[Image, nibabel.Nifti1Image]:
    """The image, and an empty NIfTI in its geometry to write results into.

    Of a DICOM series that mixes stacks (b-values, echoes) the one that shows `contrast` is taken.

    Raises:
        InputError: the path is neither; GeometryError or ImagingError: its content cannot be used.
    """
    if path.is_dir():
        return _from_dicom(path, contrast)
    if path.name.endswith((".nii", ".nii.gz")) and path.is_file():
        return _from_nifti(path)
    reason = (
        "it is neither a NIfTI file (.nii, .nii.gz) nor a folder" if path.exists() else "it does not exist"
    )
    raise InputError(
        code="source",
        subject=str(path),
        reason=reason,
        cure="Give NAME=FILE.nii.gz or NAME=FOLDER of one series.",
    )


def _from_nifti(path: Path) -> tuple[Image, nibabel.Nifti1Image]:
    from training.archive import read_nifti

    try:
        image = read_nifti(path)
        template = nibabel.Nifti1Image.from_filename(path)
    except (ImageFileError, EOFError, OSError) as error:
        raise InputError(
            code="source",
            subject=str(path),
            reason=f"it cannot be read as NIfTI ({error})",
            cure="Write the file again.",
        ) from error
    return image, template


def _from_dicom(folder: Path, contrast: str | None) -> tuple[Image, nibabel.Nifti1Image]:
    from model import Image

    datasets = []
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            datasets.append(dcmread(file))
        except InvalidDicomError:
            continue  # a folder may hold other files; what is no DICOM is no slice
    series = {str(d.get("SeriesInstanceUID", "")) for d in datasets}
    if len(series) != 1:
        raise InputError(
            code="source",
            subject=str(folder),
            reason=f"it holds {len(series)} series",
            cure="Give a folder with the files of exactly one series.",
        )
    images = main_stack(datasets, contrast)
    volume = to_volume(images.instances, only=images.only)
    affine = _RAS @ volume.affine
    template = nibabel.Nifti1Image(np.zeros(volume.array.shape[::-1], np.uint8), affine)
    template.header.set_xyzt_units("mm")
    image = Image(
        array=volume.array, affine=volume.affine, frame_of_reference=volume.frame_of_reference_uid or None
    )
    return image, template


def write_image(
    array: npt.NDArray[np.generic], template: nibabel.Nifti1Image, path: Path, description: str
) -> None:
    """(S, R, C) values as NIfTI in the template's geometry; the header says that it is synthetic."""
    out = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), template.affine)
    out.header.set_xyzt_units("mm")
    for form, code in (("qform", template.header["qform_code"]), ("sform", template.header["sform_code"])):
        if int(code) > 0:
            getattr(out, f"set_{form}")(template.affine, int(code))
    out.header["descrip"] = description[:79].encode()
    part = path.with_name("." + path.name)
    nibabel.save(out, part)
    part.rename(path)
