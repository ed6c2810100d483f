"""Volumes as a DICOM study of classic MR objects, with the headers of a real examination.

For the phantom, and for tests that wrap a volume from elsewhere (NIfTI) as something a scanner could have sent.
UIDs follow from the study's key, so the same study has the same UIDs and bytes every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from medk2n_node.demo.headers import HEADERS
from medk2n_node.errors import InputError

_NAMESPACE = UUID("0b3a3c61-7f0a-5c8e-8f6c-2b7f3d9a4e10")


@dataclass(frozen=True, kw_only=True)
class ScannedSeries:
    """One series to write: `array` is (S, R, C) of values >= 0, `affine` maps [c, r, s, 1] to LPS mm.

    Floats are scaled to 12 bits (99.9th percentile at 3000); unsigned integers are stored as they are. `header`
    adds to or overrides the attributes of the contrast. `frame` names the frame of reference: series of one
    study that were scanned without repositioning share it.
    """

    contrast: str
    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    header: Mapping[str, Any] = field(default_factory=dict)
    frame: str = "1"


@dataclass(frozen=True, kw_only=True)
class WrittenStudy:
    """What was written: `files` per contrast in slice order."""

    folder: Path
    study_uid: str
    series_uids: Mapping[str, str]
    files: Mapping[str, tuple[Path, ...]]


def from_nifti(
    path: Path, contrast: str, *, frame: str = "1", header: Mapping[str, Any] | None = None
) -> ScannedSeries:
    """A NIfTI volume as a series: RAS becomes LPS, and the axis with the largest voxels is the slice axis.

    The in-plane axes are turned so that columns run to the left or back and rows to the back or feet, as on a
    screen; no voxel is resampled.
    """
    import nibabel

    image: Any = nibabel.load(path)
    array = np.asarray(image.get_fdata(dtype=np.float32))
    if array.ndim != 3:
        raise InputError(
            code="not_a_volume",
            subject=path.name,
            reason=f"it has {array.ndim} dimensions",
            cure="Give one three-dimensional volume",
        )
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    size = np.linalg.norm(affine[:3, :3], axis=0)
    slice_axis = int(np.flatnonzero(size >= size.max() * 0.99)[-1])
    along = {axis: int(np.argmax(np.abs(affine[:3, axis]))) for axis in range(3) if axis != slice_axis}
    column_axis, row_axis = sorted(along, key=lambda axis: along[axis])  # left before back before up
    array = array.transpose(slice_axis, row_axis, column_axis)
    affine = affine[:, [column_axis, row_axis, slice_axis, 3]]
    for axis, wanted in ((0, 1.0), (1, -1.0 if along[row_axis] == 2 else 1.0)):
        direction = affine[int(np.argmax(np.abs(affine[:3, axis]))), axis]
        if direction * wanted < 0:
            array = np.flip(array, axis=2 - axis)
            affine = affine.copy()
            affine[:3, 3] += affine[:3, axis] * (array.shape[2 - axis] - 1)
            affine[:3, axis] *= -1.0
    return ScannedSeries(
        contrast=contrast,
        array=np.ascontiguousarray(np.clip(array, 0.0, None)),
        affine=affine,
        header=dict(header or {}),
        frame=frame,
    )


def write_study(
    directory: Path,
    *series: ScannedSeries,
    key: str = "phantom",
    patient: Mapping[str, Any] | None = None,
    body_part: str = "HEAD",
) -> WrittenStudy:
    """Write each series to `directory/<number>-<contrast>/`; the same arguments give the same bytes.

    `key` makes the UIDs; `patient` adds to or overrides patient and study attributes of every object.
    """
    study_uid = _uid(key, "study")
    series_uids: dict[str, str] = {}
    files: dict[str, tuple[Path, ...]] = {}
    for number, scanned in enumerate(series, start=1):
        name = scanned.contrast if scanned.contrast not in files else f"{scanned.contrast}-{number}"
        folder = directory / f"{number}-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for dataset in datasets(scanned, key=key, number=number, patient=patient or {}, body_part=body_part):
            path = folder / f"{dataset.InstanceNumber:04d}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            written.append(path)
        series_uids[name] = _uid(key, "series", str(number))
        files[name] = tuple(written)
    return WrittenStudy(folder=directory, study_uid=study_uid, series_uids=series_uids, files=files)


def datasets(
    scanned: ScannedSeries,
    *,
    key: str = "phantom",
    number: int = 1,
    patient: Mapping[str, Any] | None = None,
    body_part: str = "HEAD",
) -> list[Dataset]:
    """The objects of one series, in slice order."""
    stored = _stored(scanned.array)
    affine = scanned.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    made: list[Dataset] = []
    for index in range(stored.shape[0]):
        one = _common(scanned, key=key, number=number, body_part=body_part, patient=patient or {})
        one.SOPInstanceUID = UID(_uid(key, "slice", str(number), str(index)))
        one.InstanceNumber = index + 1
        position = affine[:3, 3] + affine[:3, 2] * index
        one.ImagePositionPatient = [_decimal(value) for value in position]
        directions = np.concatenate([affine[:3, 0] / spacing[0], affine[:3, 1] / spacing[1]])
        one.ImageOrientationPatient = [_decimal(value) for value in directions]
        one.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
        one.SliceThickness = one.SpacingBetweenSlices = _decimal(spacing[2])
        one.Rows, one.Columns = stored.shape[1:]
        one.add_new("PixelData", "OW", stored[index].astype("<u2").tobytes())
        for keyword, value in scanned.header.items():
            setattr(one, keyword, value)
        one.file_meta = _meta(one)
        made.append(one)
    return made


def _common(
    scanned: ScannedSeries, *, key: str, number: int, body_part: str, patient: Mapping[str, Any]
) -> Dataset:
    one = Dataset()
    one.SpecificCharacterSet = "ISO_IR 192"
    one.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    one.SOPClassUID = MRImageStorage
    one.Modality = "MR"
    one.StudyDate = one.SeriesDate = one.AcquisitionDate = one.ContentDate = "20240314"
    one.StudyTime = "090000"
    one.SeriesTime = one.AcquisitionTime = one.ContentTime = f"09{5 * number:02d}00"
    one.Manufacturer = "medk2n phantom"
    one.ManufacturerModelName = "Computed head 3T"
    one.DeviceSerialNumber = "1"
    one.SoftwareVersions = "1"
    one.InstitutionName = "Phantom"
    one.StationName = "PHANTOM3T"
    one.StudyDescription = "MR brain"
    one.PatientName = "Phantom^Head"
    one.PatientID = "MEDK2N-PHANTOM"
    one.PatientBirthDate = "19700101"
    one.PatientSex = "O"
    one.ReferringPhysicianName = None
    one.AccessionNumber = None
    one.StudyID = "1"
    one.StudyInstanceUID = UID(_uid(key, "study"))
    one.SeriesInstanceUID = UID(_uid(key, "series", str(number)))
    one.FrameOfReferenceUID = UID(_uid(key, "frame", scanned.frame))
    one.PositionReferenceIndicator = None
    one.SeriesNumber = number
    one.AcquisitionNumber = 1
    one.BodyPartExamined = body_part
    one.PatientPosition = "HFS"
    one.MagneticFieldStrength = "3"
    one.ScanOptions = None
    one.ImagingFrequency = "123.2"
    one.ImagedNucleus = "1H"
    one.NumberOfAverages = "1"
    one.EchoNumbers = 1
    one.PixelBandwidth = "200"
    one.ProtocolName = str(HEADERS[scanned.contrast]["SeriesDescription"])
    one.SamplesPerPixel = 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.BitsAllocated = 16
    one.BitsStored = 12
    one.HighBit = 11
    one.PixelRepresentation = 0
    one.WindowCenter, one.WindowWidth = "600", "1200"
    for keyword, value in {**HEADERS[scanned.contrast], **patient}.items():
        setattr(one, keyword, value)
    return one


def _stored(array: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Values as 12-bit integers."""
    if array.dtype.kind == "u":
        return np.asarray(np.minimum(array, 4095), dtype=np.uint16)
    top = float(np.percentile(array[array > 0], 99.9)) if np.any(array > 0) else 1.0
    return np.asarray(np.clip(np.rint(array * (3000.0 / top)), 0, 4095), dtype=np.uint16)


def _decimal(value: float) -> str:
    """A DS of at most 16 characters; what rounding leaves of a zero is zero."""
    return format_number_as_ds(0.0 if abs(value) < 1e-9 else round(float(value), 9))


def _uid(*parts: str) -> str:
    return f"2.25.{uuid5(_NAMESPACE, '/'.join(parts)).int}"


def _meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_uid("implementation"))
    return meta
