"""UIDs and bytes follow from what was computed; text keeps its character set; bad input is named."""

from __future__ import annotations

import pickle
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import is_ours_or_synthetic, series_uid, sop_uid, to_part10
from dicom_rules.errors import EncodeError
from tests.unit.derive.cases import MAKER, make_case, received


def test_equal_input_gives_equal_bytes_in_whatever_order_the_sources_come() -> None:
    case = make_case()
    shuffled = replace(case, sources={c: list(reversed(list(s))) for c, s in make_case().sources.items()})
    assert [to_part10(one) for one in case.encode()] == [to_part10(one) for one in shuffled.encode()]


def test_headers_without_pixels_and_headers_already_read_give_the_same_bytes() -> None:
    case = make_case()
    fresh = {c: [received(one) for one in s] for c, s in case.sources.items()}
    for series in fresh.values():
        for one in series:
            del one.PixelData
    expected = [to_part10(one) for one in case.encode()]
    bare = replace(case, sources=fresh)
    assert [to_part10(one) for one in bare.encode()] == expected
    for series in fresh.values():
        for one in series:
            str(one)  # converts every raw element
    assert [to_part10(one) for one in bare.encode()] == expected


def test_uids_change_with_model_revision_target_and_sources_and_with_nothing_else() -> None:
    case = make_case()
    uid = case.encode()[0].SeriesInstanceUID
    assert uid.startswith("2.25.") and len(uid) <= 64 and uid.is_valid
    assert case.encode(series_number=9100)[0].SeriesInstanceUID == uid
    assert case.encode(revision=2)[0].SeriesInstanceUID != uid
    assert replace(case, maker=replace(MAKER, model_digest="f" * 64)).encode()[0].SeriesInstanceUID != uid
    assert make_case(target="T1C").encode()[0].SeriesInstanceUID != uid
    fewer = replace(case, sources={**case.sources, "T1": list(case.sources["T1"])[:-1]})
    assert fewer.encode()[0].SeriesInstanceUID != uid


def test_sop_uids_are_distinct_and_can_be_foretold() -> None:
    case = make_case()
    uids = [one.SOPInstanceUID for series in case.sources.values() for one in series]
    series = series_uid(uids, MAKER.model_digest, "FLAIR", 1)
    assert [one.SOPInstanceUID for one in case.encode()] == [sop_uid(series, index) for index in range(6)]
    assert len({one.SOPInstanceUID for one in case.encode()}) == 6
    assert all(one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID for one in case.encode())


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 144", "Люкceмбypг^Анна"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        ("GB18030", "Zhang^XiaoDong=张^小东"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 166", "นามสกุล^ชื่อ"),
    ],
)
def test_names_of_the_world_come_back_with_their_bytes_and_character_set(
    charset: str | list[str], name: str
) -> None:
    case = make_case({"SpecificCharacterSet": charset, "PatientName": name})
    sources = {contrast: [received(one) for one in series] for contrast, series in case.sources.items()}
    original = dcmread(BytesIO(to_part10(sources["T2"][0])))
    made = to_part10(replace(case, sources=sources).encode()[0])
    back = dcmread(BytesIO(made))
    assert str(back.PatientName) == name
    assert back.SpecificCharacterSet == original.SpecificCharacterSet
    assert bytes(original.PatientName.original_string) in made


def test_text_that_the_declared_set_cannot_hold_goes_to_utf8() -> None:
    case = make_case({"StudyDescription": "Kopf"})
    for one in case.sources["T2"]:
        one.SpecificCharacterSet = "ISO_IR 100"
        one.StudyDescription = "頭部"
    back = dcmread(BytesIO(to_part10(case.encode()[0])))
    assert (back.SpecificCharacterSet, back.StudyDescription) == ("ISO_IR 192", "頭部")


def test_a_name_without_components_is_written_as_a_family_name() -> None:
    one = make_case({"PatientName": "SUBJECT_07"}).encode()[0]
    assert str(one.PatientName) == "SUBJECT_07^"
    assert one.PatientName.family_name == "SUBJECT_07"


def test_the_loop_guard_knows_our_own_output_by_any_single_mark() -> None:
    ours = make_case().encode()[0]
    assert is_ours_or_synthetic(ours) == "Synthetic Data (0008,001C) is YES: the object was made artificially"
    removed = (
        "SyntheticData",
        "ContributingEquipmentSequence",
        "ImageType",
        "Manufacturer",
        "SeriesDescription",
    )
    for kept in removed:
        one = Dataset()
        one[kept] = ours[kept]
        assert is_ours_or_synthetic(one), kept


def test_the_loop_guard_lets_acquired_images_pass() -> None:
    for series in make_case().sources.values():
        assert is_ours_or_synthetic(series[0]) is None
    assert is_ours_or_synthetic(Dataset()) is None


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_source_without_an_identifier_is_refused_by_its_name(keyword: str) -> None:
    case = make_case()
    del case.sources["T1"][0][keyword]
    with pytest.raises(EncodeError, match=keyword) as caught:
        case.encode()
    assert caught.value.code == f"missing_{keyword}"
    assert caught.value.cure


def test_a_reference_without_frame_of_reference_is_refused() -> None:
    case = make_case()
    with pytest.raises(EncodeError, match=r"FrameOfReferenceUID \(0020,0052\)"):
        replace(case, reference=replace(case.reference, frame_of_reference_uid="")).encode()


def test_sources_of_two_studies_are_refused() -> None:
    case = make_case()
    case.sources["T1"][3].StudyInstanceUID = "1.2.3"
    with pytest.raises(EncodeError, match="another study"):
        case.encode()


def test_what_does_not_fit_together_is_refused_in_words() -> None:
    case = make_case()
    for changes, words in (
        ({"array": np.zeros((5, 20, 16), dtype=np.uint16)}, "reference's grid"),
        ({"array": np.zeros((6, 20, 16), dtype=np.float32)}, "float32"),
        ({"key": "FLAIR"}, "key FLAIR is not among"),
        ({"sources": ("T1", "T2", "DWI")}, "source DWI"),
        ({"target": "T1"}, "one of its sources"),
    ):
        with pytest.raises(EncodeError, match=words):
            replace(case, result=replace(case.result, **changes)).encode()
    with pytest.raises(EncodeError, match="CLINICAL"):
        replace(case, maker=replace(MAKER, content_qualification="CLINICAL")).encode()
    with pytest.raises(EncodeError, match="header was not given"):
        case.encode(reference_headers=case.sources["T1"])


def test_an_error_survives_the_way_through_a_workflow_engine() -> None:
    with pytest.raises(EncodeError) as caught:
        replace(make_case(), reference=replace(make_case().reference, frame_of_reference_uid="")).encode()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
