"""Small MR series built in memory, for the tests of the rules: every attribute may be set or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

COMMON = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "Manufacturer",
)

T2_TSE: dict[str, Any] = {
    "ScanningSequence": "SE",
    "SequenceVariant": ["SK", "SP"],
    "MRAcquisitionType": "2D",
    "RepetitionTime": 4500,
    "EchoTime": 95,
    "FlipAngle": 150,
    "EchoTrainLength": 15,
    "PixelBandwidth": 200,
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "BodyPartExamined": "BRAIN",
    "MagneticFieldStrength": 1.5,
    "Manufacturer": "SIEMENS",
}
T1_SE = {**T2_TSE, "RepetitionTime": 500, "EchoTime": 12, "EchoTrainLength": 1, "FlipAngle": 90}
FLAIR_TSE = {
    **T2_TSE,
    "ScanningSequence": ["SE", "IR"],
    "RepetitionTime": 9000,
    "EchoTime": 110,
    "InversionTime": 2500,
}
DWI_EPI = {
    **T2_TSE,
    "ScanningSequence": "EP",
    "RepetitionTime": 5000,
    "EchoTime": 85,
    "EchoTrainLength": 64,
    "PixelBandwidth": 1500,
    "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND"],
    "DiffusionBValue": 1000.0,
}


def ds(value: float) -> str:
    """A decimal string that fits 16 characters."""
    return str(format_number_as_ds(float(value)))


def normal_of(orientation: Sequence[float]) -> npt.NDArray[np.float64]:
    """Row direction x column direction."""
    return np.cross(orientation[:3], orientation[3:])


def series(
    *,
    count: int = 6,
    spacing: float = 5.0,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-100.0, -110.0, -40.0),
    rows: int = 4,
    columns: int = 5,
    attributes: dict[str, Any] | None = None,
    pixels: bool = True,
) -> list[Dataset]:
    """A regular stack; slice k holds pixel values k*1000 + row*10 + column."""
    study, series_uid, frame = generate_uid(), generate_uid(), generate_uid()
    normal = normal_of(orientation)
    made = []
    for index in range(count):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series_uid, frame
        one.Modality = "MR"
        one.InstanceNumber = count - index
        one.ImagePositionPatient = [ds(part) for part in np.asarray(origin) + index * spacing * normal]
        one.ImageOrientationPatient = [ds(part) for part in orientation]
        one.PixelSpacing = ["0.9", "0.8"]
        one.SliceThickness = ds(spacing)
        one.Rows, one.Columns = rows, columns
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        if pixels:
            one.PixelData = plane(index, rows, columns).tobytes()
        for keyword, value in (T2_TSE if attributes is None else attributes).items():
            setattr(one, keyword, value)
        made.append(one)
    return made


def plane(index: int, rows: int = 4, columns: int = 5) -> npt.NDArray[np.uint16]:
    """The pixels of slice `index`."""
    row, column = np.mgrid[:rows, :columns]
    return (index * 1000 + row * 10 + column).astype(np.uint16)


def enhanced(
    *,
    count: int = 5,
    spacing: float = 3.0,
    orientation: Sequence[float] = SAGITTAL,
    shuffled: Sequence[int] | None = None,
) -> Dataset:
    """One enhanced multi-frame object; frame f holds slice shuffled[f]."""
    classic = series(count=count, spacing=spacing, orientation=orientation)
    order = list(shuffled) if shuffled is not None else list(range(count))
    one = Dataset()
    one.file_meta = classic[0].file_meta
    for keyword in COMMON:
        setattr(one, keyword, getattr(classic[0], keyword))
    one.SOPClassUID, one.SOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    one.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    one.BodyPartExamined, one.MRAcquisitionType, one.EchoPulseSequence = "BRAIN", "3D", "GRADIENT"
    one.NumberOfFrames = count
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=[ds(part) for part in orientation])
    shared.PixelMeasuresSequence = _item(PixelSpacing=["0.9", "0.8"], SliceThickness=ds(spacing))
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=2000.0, FlipAngle=9.0, EchoTrainLength=1
    )
    shared.MRModifierSequence = _item(InversionRecovery="YES", InversionTimes=[900.0])
    one.SharedFunctionalGroupsSequence = DicomSequence([shared])
    groups = []
    for slice_index in order:
        group = Dataset()
        group.PlanePositionSequence = _item(
            ImagePositionPatient=list(classic[slice_index].ImagePositionPatient)
        )
        group.PixelValueTransformationSequence = _item(RescaleSlope="2", RescaleIntercept=str(slice_index))
        group.MREchoSequence = _item(EffectiveEchoTime=2.5)
        group.MRImageFrameTypeSequence = _item(FrameType=["ORIGINAL", "PRIMARY", "M", "NONE"])
        groups.append(group)
    one.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    one.PixelData = b"".join(plane(slice_index).tobytes() for slice_index in order)
    return one


def _item(**values: Any) -> DicomSequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return DicomSequence([item])
