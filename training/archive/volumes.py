"""One series from its files as an image in patient space, as the node reads it."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from pydicom import dcmread

from dicom_rules.classify import main_stack
from dicom_rules.derive import is_ours_or_synthetic
from dicom_rules.errors import GeometryError
from dicom_rules.geometry import to_volume
from model import Image, ImagingError
from training.archive.dicom_tree import nameless
from training.archive.inventory import Row
from training.archive.pseudonyms import Pseudonyms
from training.errors import TrainingError
from training.studies import UNREADABLE


def read_nifti(path: Path) -> Image:
    """A NIfTI volume as an `Image`: RAS affine to LPS, array to (slice, row, column).

    What is no number (many write NaN outside the head) is 0, as where nothing was measured.

    Raises:
        ImagingError: it is no 3-D volume. OSError, EOFError, zlib.error: its bytes are damaged.
    """
    if path.suffix.lower() == ".gz":
        _read_to_the_end(path)
    nifti = nibabel.load(path)
    data = np.nan_to_num(np.asarray(nifti.get_fdata(dtype=np.float32)), nan=0.0, posinf=0.0, neginf=0.0)
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


def _read_to_the_end(path: Path) -> None:
    """The checksum of a compressed file stands at its end, where nibabel never looks."""
    with gzip.open(path) as handle:
        while handle.read(1 << 22):
            pass


def read_dicom(files: Sequence[Path], contrast: str | None = None) -> Image:
    """The stack of a DICOM series that shows `contrast`, else the one that speaks for it.

    Raises:
        TrainingError: an object of it is synthetic, which is never training material.
        GeometryError: its slices form no volume.
    """
    with warnings.catch_warnings():
        # pydicom warns of every value that breaks its VR; the rules read tolerantly.
        warnings.simplefilter("ignore", UserWarning)
        datasets = [dcmread(path) for path in files]
        for dataset in datasets:
            if why := is_ours_or_synthetic(dataset):
                raise TrainingError(
                    code="synthetic",
                    subject="series",
                    reason=f"a synthetic image never teaches: {why}",
                    cure="Scan the archive again",
                )
        images = main_stack(datasets, contrast)
        volume = to_volume(images.instances, only=images.only)
    return Image(
        array=volume.array, affine=volume.affine, frame_of_reference=volume.frame_of_reference_uid or None
    )


def read_row(row: Row, pseudonyms: Pseudonyms) -> Image:
    """The image of an inventory's row.

    Raises:
        ImagingError: it cannot be read; the reason names no patient, object or file.
    """
    try:
        return read_dicom(row.files, row.contrast) if row.form == "dicom" else read_nifti(row.files[0])
    except (GeometryError, TrainingError) as error:
        reason = f"{error.subject}: {error.reason}"
        if row.form == "dicom":
            header = dcmread(row.files[0], stop_before_pixels=True)
            reason = nameless(reason, header, row.files, pseudonyms)
        raise _unusable(row, error.code, reason) from error
    except (*UNREADABLE, ImageFileError, RuntimeError) as error:
        raise _unusable(row, "unreadable", f"it cannot be read ({type(error).__name__})") from error


def _unusable(row: Row, code: str, reason: str) -> ImagingError:
    return ImagingError(
        code=code, subject=f"{row.contrast} of study {row.study[:8]}", reason=reason, cure="Scan it again."
    )
