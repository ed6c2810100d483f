"""Whatever stands in a header, the classifier answers: a class with evidence, never an exception, never a guess."""

from __future__ import annotations

import warnings
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.config import disable_value_validation
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from dicom_rules.classify import KINDS, PLANES, classify, in_their_study, main_stack
from dicom_rules.protocols import Abilities, PlanRules, plan
from tests.unit.dicom_rules.slices import T1_SE, series

WORDS = (
    "", " ", "***", "NONE", "T1", "FLAIR", "\\", "ADC", "-1", "1e309", "nan", "inf", "0", "1000", "12.5", "YES",
    "x" * 300, "頭部", "\x00", "1\\2\\3", "0018", "PROJECTION IMAGE", "SYNTHETIC", "M", "P",
)  # fmt: skip
TEXTS = (
    "SeriesDescription", "ProtocolName", "StudyDescription", "BodyPartExamined", "ScanningSequence", "SequenceVariant",
    "ScanOptions", "ImageType", "MRAcquisitionType", "SequenceName", "PulseSequenceName", "ContrastBolusAgent",
    "AcquisitionContrast", "ComplexImageComponent", "DiffusionDirectionality", "Manufacturer", "Modality",
    "SOPClassUID", "ImageComments", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "AngioFlag",
    "RescaleType", "StationName", "ReceiveCoilName", "PatientSpeciesDescription", "SyntheticData", "SoftwareVersions",
)  # fmt: skip
NUMBERS = (
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength", "MagneticFieldStrength",
    "PixelBandwidth", "SliceThickness", "DiffusionBValue", "ContrastBolusVolume", "ImagingFrequency", "Rows",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip
SEQUENCES = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ContributingEquipmentSequence",
    "ContrastBolusAgentSequence", "AnatomicRegionSequence", "RealWorldValueMappingSequence", "ProcedureCodeSequence",
    "RequestAttributesSequence", "DerivationImageSequence",
)  # fmt: skip
PRIVATE = (
    0x0019100C, 0x0019100D, 0x00291010, 0x00431039, 0x00431030, 0x004310CA, 0x20011003, 0x20011004, 0x20011013,
    0x00651009, 0x0051100F, 0x00211175, 0x0019109C,
)  # fmt: skip

texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=70), st.lists(st.sampled_from(WORDS), max_size=5))
loose_numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**6), 10**6), st.sampled_from(WORDS)
)
numbers = st.one_of(loose_numbers, st.lists(loose_numbers, max_size=7))
raw = st.one_of(st.binary(max_size=120), st.sampled_from(WORDS), st.integers(-10, 2 * 10**9))
headers = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(TEXTS, texts),
        **dict.fromkeys(NUMBERS, numbers),
    },
)


def spoiled(values: dict[str, Any], private: dict[int, Any], nested: dict[str, dict[str, Any]]) -> Dataset:
    """A header with these values under value representations that hold anything, as damaged files do."""
    (header,) = series(count=1, attributes=T1_SE, pixels=False)
    for keyword, value in values.items():
        element = DataElement(Tag(keyword), "LO", _as_text(value))
        header[element.tag] = element
    for tag, value in private.items():
        vr = "UN" if isinstance(value, bytes) else "IS" if isinstance(value, int) else "LO"
        header[Tag(tag)] = DataElement(Tag(tag), vr, value)
    for keyword, inside in nested.items():
        item = Dataset()
        for name, value in inside.items():
            item[Tag(name)] = DataElement(Tag(name), "LO", _as_text(value))
        setattr(header, keyword, DicomSequence([item, Dataset()]))
    return header


def _as_text(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list) else str(value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=headers,
    private=st.dictionaries(st.sampled_from(PRIVATE), raw, max_size=4),
    nested=st.dictionaries(st.sampled_from(SEQUENCES), headers, max_size=3),
)
def test_any_header_gets_a_class_with_evidence(
    values: dict[str, Any], private: dict[int, Any], nested: dict[str, dict[str, Any]]
) -> None:
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = spoiled(values, private, nested)
    found = classify([header])
    assert found.kind in KINDS
    assert found.plane in PLANES
    assert 0.0 <= found.confidence <= 1.0
    assert found.evidence
    assert all(sentence.endswith(".") for sentence in found.evidence)
    assert found.usable <= (found.contrast is not None)
    assert main_stack([header]).instances
    (again,) = in_their_study([found])
    made = plan([again], abilities=Abilities(contrasts=("T1", "T2")), rules=PlanRules())
    assert all(role.reasons for role in made.series)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(missing=st.sets(st.sampled_from(sorted(T1_SE)), min_size=1))
def test_taking_attributes_away_never_changes_one_contrast_into_another(missing: set[str]) -> None:
    left = {keyword: value for keyword, value in T1_SE.items() if keyword not in missing}
    assert classify(series(count=3, attributes=left, pixels=False)).contrast in ("T1", None)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=400))
def test_a_damaged_csa_header_states_nothing_and_stops_nothing(content: bytes) -> None:
    (header,) = series(count=1, attributes=T1_SE, pixels=False)
    header[Tag(0x00291010)] = DataElement(Tag(0x00291010), "OB", b"SV10" + content)
    assert classify([header]).contrast == "T1"
