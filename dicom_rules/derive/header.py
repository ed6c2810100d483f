"""What a result shares with its sources: the patient, the study, the scanner that acquired them.

Copied attributes keep their text and, where possible, its bytes. A value that its own value representation
forbids is not repeated, except the patient's name and identifier, which must match the siblings.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName, validate_value

from dicom_rules.derive.text import LO_LENGTH, SH_LENGTH, character_set
from dicom_rules.errors import EncodeError
from dicom_rules.reading import number, text, texts
from dicom_rules.reading import value as read

# PS3.3 C.7.1.1 and C.7.2: the first tuple is type 1 or 2 (present even when empty), the second type 3.
_ALWAYS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_WHERE_STATED = (
    "IssuerOfPatientID",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
    "PhysiciansOfRecord",
    "PatientPosition",
)
_FIRST_YEAR = "1000"
"""De-identification tools write dates such as 00010101, which validators hold to be no dates."""

_IDENTITY = ("PatientName", "PatientID")

_LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}


def required(header: Dataset, keyword: str) -> str:
    """The value of an attribute that no result can do without; EncodeError naming it when it is missing."""
    value = text(header, keyword)
    if not value:
        raise missing(keyword, text(header, "SOPInstanceUID") or "a source object without SOP Instance UID")
    return value


def missing(keyword: str, subject: str) -> EncodeError:
    """The error for a source that lacks `keyword`."""
    tag = tag_for_keyword(keyword) or 0
    return EncodeError(
        code=f"missing_{keyword}",
        subject=subject,
        reason=f"the source has no {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}), which the result shares",
        cure="Send the original series again from the scanner or the archive",
    )


def copy_patient_and_study(source: Dataset, target: Dataset) -> None:
    """Copy patient, study and patient position from the reference slice's header, then the character set."""
    for keyword in _ALWAYS:
        target[keyword] = _copied(source, keyword) or DataElement(keyword, dictionary_VR(keyword), None)
    for keyword in _WHERE_STATED:
        element = _copied(source, keyword)
        if element is not None:
            target[keyword] = element
    if text(source, "PatientSex") not in ("M", "F", "O"):  # PS3.3 C.7.1.1: enumerated; some sites write U
        target.PatientSex = None
    body_part = text(source, "BodyPartExamined").upper()
    target.BodyPartExamined = body_part if body_part in ("BRAIN", "HEAD") else "BRAIN"


def set_character_set(target: Dataset, source: Dataset) -> None:
    """Write the source's Specific Character Set, or UTF-8 when some text of `target` does not survive it."""
    declared = read(source, "SpecificCharacterSet")
    chosen = character_set(declared, _texts(target))
    if chosen is not None:
        target.SpecificCharacterSet = chosen


def _texts(dataset: Dataset) -> list[str]:
    found: list[str] = []
    for element in dataset.iterall():
        if element.VR in ("PN", "LO", "SH", "ST", "LT", "UC", "UT") and element.value:
            values = element.value if element.VM > 1 else [element.value]
            found.extend(part for value in values for part in str(value).split("="))
    return found


def _copied(source: Dataset, keyword: str) -> DataElement | None:
    """A copy of the element, or None when absent, empty or (identity aside) not valid for its VR."""
    if read(source, keyword) is None:
        return None
    element = source[keyword]
    if element.VR == "SQ":
        # De-identification tools write code values that no SH can hold; such an item is not repeated.
        items = [deepcopy(item) for item in element.value if all(map(_is_valid, item.iterall()))]
        return DataElement(element.tag, "SQ", items) if items else None
    if keyword not in _IDENTITY and element.VR != "PN" and not _is_valid(element):
        return None
    if element.VR == "PN":
        names = element.value if element.VM > 1 else [element.value]
        return DataElement(element.tag, "PN", [_component_form(name) for name in names])
    return deepcopy(element)


def _is_valid(element: DataElement) -> bool:
    """Whether every value of the element is one that its value representation allows (PS3.5 section 6.2)."""
    if element.VR == "SQ" or element.value is None:
        return True  # the elements of its items are looked at on their own
    try:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, value if isinstance(value, bytes) else str(value), config.RAISE)
            if element.VR == "DA" and str(value) < _FIRST_YEAR:
                return False
    except ValueError:
        return False
    return True


def _component_form(name: PersonName) -> PersonName:
    """The name with a component delimiter: "Doe" becomes "Doe^", which PS3.5 6.2.1.1 holds to be the same name.

    Without any delimiter a name reads as the free text of ACR-NEMA (PS3.5 6.2.1), and validators say so. A name
    that has one keeps its bytes.
    """
    groups = str(name).split("=")
    if "^" in groups[0] or not groups[0]:
        return deepcopy(name)
    return PersonName("=".join([groups[0] + "^", *groups[1:]]))


def scanner_item(source: Dataset, purpose: Dataset) -> Dataset:
    """Contributing Equipment item of the scanner that acquired the sources (PS3.3 C.12.1.1.5)."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    # Manufacturer is type 1 here but type 2 in a source, so it may be empty there.
    item.Manufacturer = text(source, "Manufacturer")[:LO_LENGTH] or "unknown"
    for keyword in (
        "InstitutionName",
        "InstitutionalDepartmentName",
        "StationName",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
    ):
        element = _copied(source, keyword)
        limit = SH_LENGTH if keyword == "StationName" else LO_LENGTH
        if element is not None and all(len(value) <= limit for value in texts(source, keyword)):
            item[keyword] = element
    return item


def set_lossy(target: Dataset, headers: Sequence[Dataset]) -> None:
    """Lossy Image Compression: 01 when any source ever was; it may never be reset (PS3.3 C.7.6.1.1.5)."""
    lossy = [header for header in headers if _is_lossy(header)]
    target.LossyImageCompression = "01" if lossy else "00"
    if not lossy:
        return
    ratios = [ratio for header in lossy if (ratio := number(header, "LossyImageCompressionRatio"))]
    if ratios:  # where no source states one, none is invented
        target.LossyImageCompressionRatio = f"{max(ratios):.6g}"
    keyword = "LossyImageCompressionMethod"
    stated = {value for header in lossy for value in texts(header, keyword)[:1] if value}
    implied = {_LOSSY_SYNTAXES[_syntax(header)] for header in lossy if _syntax(header) in _LOSSY_SYNTAXES}
    if stated or implied:
        target[keyword] = DataElement(keyword, "CS", min(stated or implied))


def _is_lossy(header: Dataset) -> bool:
    return text(header, "LossyImageCompression") == "01" or _syntax(header) in _LOSSY_SYNTAXES


def _syntax(header: Dataset) -> str:
    meta = getattr(header, "file_meta", None)
    return "" if meta is None else text(meta, "TransferSyntaxUID")
