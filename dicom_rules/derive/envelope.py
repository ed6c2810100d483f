"""What a result that is no MR slice states about itself, and how it is put around what highdicom built.

highdicom builds the content of an object and checks it, but takes the time from the clock, chance UIDs for its
inner references, and patient data as they are. The envelope replaces those: times and UIDs are given, patient and
study are copied by the same rules as for the MR series, and the outcome is a plain data set with the same bytes
for the same input.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from dicom_rules.derive.equipment import in_the_offset_of, set_equipment, set_times
from dicom_rules.derive.header import copy_patient_and_study, required, set_character_set
from dicom_rules.derive.part10 import file_meta
from dicom_rules.derive.text import LO_LENGTH, UTF8, ours
from dicom_rules.derive.types import Maker
from dicom_rules.reading import GB2312_DESIGNATION

_TEXT = ("LO", "SH", "ST", "LT", "UC", "UT")
_IMAGES = ("BodyPartExamined", "PatientPosition")


def envelope(
    first: Dataset,
    *,
    maker: Maker,
    made_at: datetime,
    sop_class: str,
    series: str,
    instance: str,
    series_number: int,
    modality: str,
    description: str,
    account: str,
    synthetic: bool,
    image: bool = True,
) -> Dataset:
    """The patient, study, series and equipment of an object, with its UIDs and times.

    `first` is any object of the study that patient and study are copied from; `description` becomes the Series
    Description (64 characters of ASCII); `account` is told in Contributing Equipment. `synthetic`: whether the
    object's own content was made artificially (Synthetic Data); `image`: whether it has image attributes.
    """
    made_at = in_the_offset_of(first, made_at)
    header = Dataset()
    copy_patient_and_study(first, header)
    if not image:
        for keyword in _IMAGES:
            header.pop(keyword, None)
    header.SOPClassUID = UID(sop_class)
    header.SOPInstanceUID = UID(instance)
    header.StudyInstanceUID = UID(required(first, "StudyInstanceUID"))
    header.SeriesInstanceUID = UID(series)
    header.SeriesNumber = series_number
    header.InstanceNumber = 1
    header.Modality = modality
    header.SeriesDescription = ours(description, LO_LENGTH)
    set_times(header, made_at)
    set_equipment(header, first, maker, made_at, account)
    if synthetic:
        header.SyntheticData = "YES"
    set_character_set(header, first)
    return header


def in_utf8(header: Dataset) -> Dataset:
    """The same header with all its text in ISO_IR 192, for objects whose own text may be of any script."""
    for element in header.iterall():
        if element.VR == "PN" and element.value:
            names = element.value if element.VM > 1 else [element.value]
            element.value = [PersonName(str(name).replace(GB2312_DESIGNATION, "")) for name in names]
        elif element.VR in _TEXT and isinstance(element.value, str):
            element.value = element.value.replace(GB2312_DESIGNATION, "")
    header.SpecificCharacterSet = UTF8
    return header


def neutral(dataset: Dataset) -> Dataset:
    """What highdicom may see of an object: its identity and geometry, no text and no patient.

    highdicom refuses values that real headers hold (an empty name, a sex of "U", the empty first value of a
    Japanese character set); the envelope brings the real ones.
    """
    plain = Dataset()
    for keyword in _IDENTITY_AND_GEOMETRY:
        if keyword in dataset:
            plain[keyword] = dataset[keyword]
    for keyword in _PATIENT_AND_STUDY:
        setattr(plain, keyword, None)
    return plain


_IDENTITY_AND_GEOMETRY = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_PATIENT_AND_STUDY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


def sealed(built: Dataset, header: Dataset, *, without: Sequence[str] = ()) -> Dataset:
    """What highdicom built, as a plain data set in its envelope; `without` names attributes its IOD does not have."""
    whole = Dataset()
    whole.update(built)
    whole.update(header)
    for keyword in without:
        whole.pop(keyword, None)
    whole.file_meta = file_meta(whole)
    return whole
