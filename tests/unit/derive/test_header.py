"""The header of a synthetic series, row by row as a PACS or a viewer would read it."""

from __future__ import annotations

import warnings
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import free_series_number, to_part10
from tests.unit.derive.cases import case_of, make_case, received


def test_it_is_an_mr_image_that_says_it_was_made_and_not_acquired() -> None:
    for one in make_case().encode():
        assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
        assert list(one.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
        assert one.SyntheticData == "YES"
        assert one.ContentQualification == "RESEARCH"
        assert one.SeriesDescription == "SYNTHETIC FLAIR (AI) - not acquired"
        assert (one.Modality, one.SeriesNumber, one.BurnedInAnnotation) == ("MR", 9003, "NO")


def test_the_acquisition_is_present_where_the_standard_demands_it_and_empty() -> None:
    one = make_case().encode()[0]
    assert (one.ScanningSequence, one.SequenceVariant) == ("RM", "NONE")
    for keyword in ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"):
        assert keyword in one and not one[keyword].value, keyword
    for keyword in (
        "InversionTime",
        "FlipAngle",
        "MagneticFieldStrength",
        "ProtocolName",
        "SequenceName",
        "AcquisitionDate",
        "AcquisitionTime",
        "ContrastBolusAgent",
        "RescaleSlope",
        "RescaleIntercept",
        "PresentationIntentType",
        "AcquisitionContrast",
        "PixelPaddingValue",
        "Laterality",
        "DerivationAlgorithmSequence",
    ):
        assert keyword not in one, keyword


def test_patient_and_study_are_the_references() -> None:
    case = make_case()
    source, one = case.sources["T2"][0], case.encode()[0]
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "FrameOfReferenceUID",
        "PatientPosition",
    ):
        assert one[keyword].value == source[keyword].value, keyword
    assert one.BodyPartExamined == "HEAD"


def test_a_body_part_that_is_not_a_head_becomes_brain() -> None:
    assert make_case({"BodyPartExamined": "WHOLEBODY"}).encode()[0].BodyPartExamined == "BRAIN"


def test_the_plane_is_the_references_own_decimal_strings() -> None:
    sources = dict(make_case().sources)
    for one in sources["T2"]:
        one.PixelSpacing = ["1.000", "1.0"]
    sources["T2"][0].ImagePositionPatient = ["-10.0000000000", "-1.0E+01", "+0.00"]
    raw = to_part10(case_of(sources, reference="T2").encode()[0])
    assert b"-10.0000000000\\-1.0E+01\\+0.00" in raw
    assert b"1.000\\1.0" in raw


def test_slices_follow_the_reference_in_order_and_pixels_come_back_equal() -> None:
    case = make_case()
    made = case.encode()
    assert [one.InstanceNumber for one in made] == list(range(1, 7))
    for index, one in enumerate(made):
        back = dcmread(BytesIO(to_part10(one)))
        assert np.array_equal(back.pixel_array, case.result.array[index])
        assert [str(v) for v in back.ImagePositionPatient] == list(
            case.reference.slices[index].image_position
        )
        assert (back.BitsAllocated, back.BitsStored, back.HighBit, back.PixelRepresentation) == (
            16,
            12,
            11,
            0,
        )


def test_bits_stored_grow_with_the_values_of_the_whole_volume() -> None:
    array = np.zeros((6, 20, 16), dtype=np.uint16)
    array[3, 0, 0] = 40000
    assert {one.BitsStored for one in make_case(array=array).encode()} == {16}
    array[3, 0, 0] = 8000
    assert {(one.BitsStored, one.HighBit) for one in make_case(array=array).encode()} == {(13, 12)}


def test_the_window_is_the_same_on_all_slices_and_follows_the_scale_when_none_is_given() -> None:
    windows = {(str(one.WindowCenter), str(one.WindowWidth)) for one in make_case().encode()}
    assert windows == {("600.0", "1200.0")}
    one = make_case(window=None).encode()[0]
    assert (float(one.WindowCenter), float(one.WindowWidth)) == (617.25, 1234.5)


def test_every_time_is_the_time_of_synthesis() -> None:
    one = make_case().encode()[0]
    for stem in ("Series", "Content", "InstanceCreation"):
        assert one[f"{stem}Date"].value == "20250304"
        assert one[f"{stem}Time"].value == "151617.000890"
    assert one.TimezoneOffsetFromUTC == "+0200"
    assert one.ContributingEquipmentSequence[1].ContributionDateTime == "20250304151617.000890+0200"


def test_times_are_written_in_the_offset_that_the_study_states() -> None:
    one = make_case({"TimezoneOffsetFromUTC": "-0330"}).encode(
        made_at=datetime(2025, 3, 4, 1, 0, tzinfo=UTC)
    )[0]
    assert (one.SeriesDate, one.SeriesTime, one.TimezoneOffsetFromUTC) == (
        "20250303",
        "213000.000000",
        "-0330",
    )


def test_the_equipment_is_ours_and_the_scanner_is_named_as_the_acquirer() -> None:
    case = make_case()
    one = case.encode()[0]
    assert (one.Manufacturer, one.ManufacturerModelName) == ("medk2n", "medk2n-demonstration")
    assert list(one.SoftwareVersions) == ["medk2n 0.1.0", "medk2n-demonstration 1", "sha256 0123456789ab"]
    scanner, synthesizer = one.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert scanner.Manufacturer == "medk2n phantom"
    assert scanner.InstitutionName == "Phantom"
    assert synthesizer.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert case.maker.model_digest in synthesizer.ContributionDescription
    assert "T1 0.50, T2 0.50" in synthesizer.ContributionDescription
    assert "FLAIR is missing" in synthesizer.ContributionDescription


def test_the_device_uid_changes_with_the_weights() -> None:
    case = make_case()
    other = replace(case, maker=replace(case.maker, model_digest="f" * 64))
    assert case.encode()[0].DeviceUID.startswith("2.25.")
    assert case.encode()[0].DeviceUID != other.encode()[0].DeviceUID


def test_the_derivation_is_one_sentence_with_sources_model_and_date() -> None:
    one = make_case().encode()[0]
    for words in (
        "FLAIR",
        "T1, T2",
        "key T2",
        "T1 resampled",
        "medk2n-demonstration 1",
        "2025-03-04",
        "not acquired",
    ):
        assert words in one.DerivationDescription
    assert one.DerivationCodeSequence[0].CodeValue == "113085"
    assert "DerivationCodeSequence" not in make_case(resampled=()).encode()[0]


def test_over_long_and_foreign_words_of_ours_are_made_to_fit() -> None:
    case = make_case(reasons=("a reason\nwith \\ signs " * 200,))
    maker = replace(case.maker, model_name="Modèle " + "x" * 80, model_version="v" * 80, station="s" * 30)
    one = replace(case, maker=maker).encode()[0]
    assert len(one.ManufacturerModelName) == 64 and one.ManufacturerModelName.startswith("Modele x")
    assert all(len(version) <= 64 for version in one.SoftwareVersions)
    assert len(one.StationName) == 16
    assert len(one.DerivationDescription) <= 1024
    described = one.ContributingEquipmentSequence[1].ContributionDescription
    assert (
        len(described) == 1024
        and described.endswith("...")
        and "\n" not in described
        and "\\" not in described
    )


def test_lossy_compression_of_any_source_stays_stated() -> None:
    assert make_case().encode()[0].LossyImageCompression == "00"
    case = make_case()
    case.sources["T1"][4].LossyImageCompression = "01"
    case.sources["T1"][4].LossyImageCompressionRatio = "8.5"
    case.sources["T1"][4].LossyImageCompressionMethod = "ISO_10918_1"
    for one in case.encode():
        assert one.LossyImageCompression == "01"
        assert float(one.LossyImageCompressionRatio) == 8.5
        assert one.LossyImageCompressionMethod == "ISO_10918_1"


def test_a_lossy_transfer_syntax_counts_without_the_flag() -> None:
    case = make_case()
    case.sources["T1"][0].file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.81"
    one = case.encode()[0]
    assert (one.LossyImageCompression, one.LossyImageCompressionMethod) == ("01", "ISO_14495_1")


@pytest.mark.parametrize(("used", "number"), [((), 9003), ((9003,), 9004), ((1, 2, 9003, 9004, 9005), 9006)])
def test_the_series_number_moves_up_past_used_ones(used: tuple[int, ...], number: int) -> None:
    assert free_series_number("FLAIR", used) == number


def test_invalid_optional_values_of_a_source_are_not_repeated() -> None:
    case = make_case({"PatientAge": "054Y"})
    sources = dict(case.sources)
    sources["T2"] = [
        received(one, (b"19700101", b"***     "), (b"054Y", b"old "), (b"090000", b"9:99  "))
        for one in case.sources["T2"]
    ]
    one = replace(case, sources=sources).encode()[0]
    assert not one.PatientBirthDate and not one.StudyTime
    assert "PatientAge" not in one
    assert one.PatientID == "MEDK2N-PHANTOM"


def test_what_no_validator_takes_for_a_value_is_not_repeated() -> None:
    """De-identified studies bear dates of the year 1, over-long codes and a sex of U."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113101", "DCM", "Clean Pixel Data Option"
    long = deepcopy(code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        long.CodeValue = "replace_recognizable"  # 20 characters, an SH holds 16
        case = make_case(
            {
                "PatientSex": "U",
                "StudyDate": "00010101",
                "PatientBirthDate": "19700101",
                "PatientIdentityRemoved": "YES",
                "DeidentificationMethodCodeSequence": [code, long],
            }
        )
        one = case.encode()[0]
    assert (one.PatientSex or "", one.StudyDate or "", one.PatientBirthDate) == ("", "", "19700101")
    assert [item.CodeValue for item in one.DeidentificationMethodCodeSequence] == ["113101"]
