"""A synthetic series as one Enhanced MR Image Storage object (PS3.3 A.36.2), for studies that are enhanced.

Made from the encoded classic slices, so that both forms say the same: what a slice states becomes the functional
group of its frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, EnhancedMRImageStorage

from dicom_rules.derive.codes import SPATIAL_RESAMPLING, code_item
from dicom_rules.derive.part10 import file_meta
from dicom_rules.derive.uids import object_uid
from dicom_rules.reading import text, tolerant

_HEAD = Code("69536005", "SCT", "Head")
_PER_SLICE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SourceImageSequence",
    "DerivationCodeSequence",
    "DerivationDescription",
    "WindowCenter",
    "WindowWidth",
    "PixelData",
)
_CLASSIC_ACQUISITION = (
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
)
_CONTRASTS = {"T1": "T1", "T1C": "T1", "T2": "T2", "FLAIR": "FLUID_ATTENUATED", "DWI": "DIFFUSION"}
"""Acquisition Contrast (0008,9209), PS3.3 C.8.13.3.3.1: here the contrast that is imitated."""

_OTHER_CONTRAST = "UNKNOWN"


def can_be_enhanced(reference_headers: Sequence[Dataset]) -> bool:
    """Whether a result on this reference can be written as Enhanced MR: its reference is one, and whole.

    Applicable Safety Standard Agency is required in both (PS3.3 table C.8-83) and can only be the source's word.
    """
    return bool(reference_headers) and all(
        text(one, "SOPClassUID") == EnhancedMRImageStorage and text(one, "ApplicableSafetyStandardAgency")
        for one in reference_headers
    )


@tolerant
def enhanced(
    slices: Sequence[Dataset],
    target: str,
    *,
    reference_headers: Sequence[Dataset],
    source_series: Mapping[str, Sequence[Dataset]],
) -> Dataset:
    """One multi-frame object of the classic `slices`, which are in order; its UIDs follow from theirs.

    `source_series` are the headers that the slices were made from, `reference_headers` those of the reference,
    for which `can_be_enhanced` must be true.
    """
    first = slices[0]
    whole = Dataset()
    whole.update(
        {
            element.tag: deepcopy(element)  # assigning to a shared element would change the slice
            for element in first
            if element.keyword not in (*_PER_SLICE, *_CLASSIC_ACQUISITION)
        }
    )
    series = object_uid("enhanced series", str(first.SeriesInstanceUID))
    whole.SOPClassUID = EnhancedMRImageStorage
    whole.SeriesInstanceUID = UID(series)
    whole.SOPInstanceUID = UID(object_uid("enhanced", series))
    whole.InstanceNumber = 1
    whole.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    whole.AcquisitionContextSequence = []
    whole.ApplicableSafetyStandardAgency = text(reference_headers[0], "ApplicableSafetyStandardAgency")
    whole.PresentationLUTShape = "IDENTITY"
    whole.SourceImageEvidenceSequence = [_evidence(whole, slices, source_series)]
    kind = _frame_kind(target)
    whole.update(kind)
    _set_dimensions(whole, object_uid("dimensions", series))
    whole.NumberOfFrames = len(slices)
    whole.SharedFunctionalGroupsSequence = [_shared(first, kind)]
    whole.PerFrameFunctionalGroupsSequence = [
        _frame(one, number) for number, one in enumerate(slices, start=1)
    ]
    whole.add_new("PixelData", "OW", b"".join(one.PixelData for one in slices))
    whole.file_meta = file_meta(whole)
    return whole


def _frame_kind(target: str) -> Dataset:
    """What the object and its frames say alike (PS3.3 C.8.16.2 and C.8.13.3)."""
    kind = Dataset()
    kind.PixelPresentation = "MONOCHROME"
    kind.VolumetricProperties = "VOLUME"
    kind.VolumeBasedCalculationTechnique = "NONE"
    kind.ComplexImageComponent = "MAGNITUDE"
    kind.AcquisitionContrast = _CONTRASTS.get(target, _OTHER_CONTRAST)
    return kind


def _set_dimensions(whole: Dataset, uid: str) -> None:
    organization = Dataset()
    organization.DimensionOrganizationUID = UID(uid)
    whole.DimensionOrganizationSequence = [organization]
    indices = []
    for pointer in (0x00209056, 0x00209057):  # Stack ID, In-Stack Position Number
        item = Dataset()
        item.DimensionOrganizationUID = UID(uid)
        item.DimensionIndexPointer = pointer
        item.FunctionalGroupPointer = 0x00209111  # Frame Content Sequence
        indices.append(item)
    whole.DimensionIndexSequence = indices


def _shared(first: Dataset, kind: Dataset) -> Dataset:
    shared = Dataset()
    measures = _macro(first, "PixelSpacing", "SpacingBetweenSlices")
    measures.SliceThickness = first.SliceThickness or first.SpacingBetweenSlices  # type 1C here, 2 in a slice
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [_macro(first, "ImageOrientationPatient")]
    shared.FrameVOILUTSequence = [_macro(first, "WindowCenter", "WindowWidth")]
    scaling = Dataset()
    scaling.RescaleIntercept = "0"
    scaling.RescaleSlope = "1"
    scaling.RescaleType = "US"
    shared.PixelValueTransformationSequence = [scaling]
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence = [code_item(_HEAD)]
    anatomy.FrameLaterality = "U"
    shared.FrameAnatomySequence = [anatomy]
    frame_type = Dataset()
    frame_type.FrameType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    frame_type.update(kind)
    shared.MRImageFrameTypeSequence = [frame_type]
    return shared


def _frame(one: Dataset, number: int) -> Dataset:
    frame = Dataset()
    content = Dataset()
    content.StackID = "1"
    content.InStackPositionNumber = number
    content.DimensionIndexValues = [1, number]
    frame.FrameContentSequence = [content]
    frame.PlanePositionSequence = [_macro(one, "ImagePositionPatient")]
    derivation = Dataset()
    # The macro demands a code and CID 7203 has none for "synthesised": what is done to every source is resampling.
    derivation.DerivationCodeSequence = [code_item(SPATIAL_RESAMPLING)]
    derivation.DerivationDescription = one.DerivationDescription
    derivation.SourceImageSequence = list(one.SourceImageSequence)
    frame.DerivationImageSequence = [derivation]
    return frame


def _evidence(
    whole: Dataset, slices: Sequence[Dataset], source_series: Mapping[str, Sequence[Dataset]]
) -> Dataset:
    """Every source object that any frame names, by series (PS3.3 table 10-11)."""
    named = {str(item.ReferencedSOPInstanceUID) for one in slices for item in one.SourceImageSequence}
    by_series: dict[str, list[Dataset]] = {}
    for header in sorted(
        (one for headers in source_series.values() for one in headers),
        key=lambda one: str(one.SOPInstanceUID),
    ):
        if str(header.SOPInstanceUID) in named:
            item = Dataset()
            item.ReferencedSOPClassUID = header.SOPClassUID
            item.ReferencedSOPInstanceUID = header.SOPInstanceUID
            by_series.setdefault(str(header.SeriesInstanceUID), []).append(item)
    evidence = Dataset()
    evidence.StudyInstanceUID = whole.StudyInstanceUID
    evidence.ReferencedSeriesSequence = []
    for uid, items in sorted(by_series.items()):
        series = Dataset()
        series.SeriesInstanceUID = UID(uid)
        series.ReferencedSOPSequence = items
        evidence.ReferencedSeriesSequence.append(series)
    return evidence


def _macro(one: Dataset, *keywords: str) -> Dataset:
    item = Dataset()
    for keyword in keywords:
        item[keyword] = one[keyword]
    return item
