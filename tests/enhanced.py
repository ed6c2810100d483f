"""A classic series as one enhanced multi-frame object (PS3.3 A.36), frames in any order."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, EnhancedMRImageStorage

MOVED = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "WindowCenter",
    "WindowWidth",
    "RescaleSlope",
    "RescaleIntercept",
    "EchoTime",
    "RepetitionTime",
    "FlipAngle",
    "EchoTrainLength",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "SequenceName",
)


def as_enhanced(
    series: Sequence[Dataset], *, order: Sequence[int] | None = None, slope: float = 1, intercept: float = 0
) -> Dataset:
    """`series` as one object whose frame f (from 0) is slice `order[f]`, with that rescale in every frame."""
    order = list(range(len(series))) if order is None else list(order)
    first = series[0]
    one = deepcopy(first)
    for keyword in MOVED:
        if keyword in one:
            delattr(one, keyword)
    one.SOPClassUID = EnhancedMRImageStorage
    one.SOPInstanceUID = UID(f"2.25.{uuid5(NAMESPACE_OID, str(first.SOPInstanceUID)).int}")
    one.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", "NONE"]
    one.NumberOfFrames = len(order)
    one.InstanceNumber = 1
    one.EchoPulseSequence = "SPIN"
    one.PixelData = b"".join(series[index].PixelData for index in order)
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=first.ImageOrientationPatient)
    shared.PixelMeasuresSequence = _item(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    shared.PixelValueTransformationSequence = _item(
        RescaleSlope=str(slope), RescaleIntercept=str(intercept), RescaleType="US"
    )
    shared.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=float(first.RepetitionTime),
        FlipAngle=float(first.FlipAngle),
        EchoTrainLength=int(first.EchoTrainLength),
    )
    one.SharedFunctionalGroupsSequence = DicomSequence([shared])
    groups = []
    for index in order:
        group = Dataset()
        group.PlanePositionSequence = _item(ImagePositionPatient=series[index].ImagePositionPatient)
        group.MREchoSequence = _item(EffectiveEchoTime=float(first.EchoTime))
        group.MRImageFrameTypeSequence = _item(FrameType=["ORIGINAL", "PRIMARY", "OTHER", "NONE"])
        groups.append(group)
    one.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    one.file_meta = FileMetaDataset()
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.file_meta.TransferSyntaxUID = first.file_meta.TransferSyntaxUID
    return one


def _item(**values: Any) -> DicomSequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return DicomSequence([item])
