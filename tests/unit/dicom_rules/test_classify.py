"""One series at a time: what its headers make of it, and the sentence that says why."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_rules.classify import ClassifyRules, SeriesClass, classify, main_stack
from dicom_rules.errors import ClassifyError
from tests.unit.dicom_rules.slices import (
    AXIAL,
    CORONAL,
    DWI_EPI,
    FLAIR_TSE,
    SAGITTAL,
    T1_SE,
    T2_TSE,
    enhanced,
    series,
)

MPRAGE: dict[str, Any] = {
    **T2_TSE,
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SP", "MP"],
    "MRAcquisitionType": "3D",
    "RepetitionTime": 2300,
    "EchoTime": 2.98,
    "InversionTime": 900,
    "FlipAngle": 9,
}
SPGR: dict[str, Any] = {
    **T2_TSE,
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "MRAcquisitionType": "3D",
    "RepetitionTime": 9.2,
    "EchoTime": 3.7,
    "FlipAngle": 15,
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
}


def of(attributes: dict[str, Any], **more: Any) -> SeriesClass:
    """The class of a stack with these attributes; one set to None is left out."""
    merged = {keyword: value for keyword, value in {**attributes, **more}.items() if value is not None}
    return classify(series(attributes=merged, pixels=False))


@pytest.mark.parametrize(
    ("attributes", "contrast"),
    [
        (T1_SE, "T1"),
        (T2_TSE, "T2"),
        (FLAIR_TSE, "FLAIR"),
        (MPRAGE, "T1"),
        (SPGR, "T1"),
        (DWI_EPI, "DWI"),
        ({**DWI_EPI, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "ADC"),
        ({**T1_SE, "ScanningSequence": ["SE", "IR"], "RepetitionTime": 2000, "InversionTime": 800}, "T1"),
    ],
)
def test_textbook_timings_are_recognised_without_any_name(attributes: dict[str, Any], contrast: str) -> None:
    found = of(attributes)
    assert (found.contrast, found.usable) == (contrast, True)
    assert found.confidence >= 0.85
    assert all(sentence.endswith(".") for sentence in found.evidence)


@pytest.mark.parametrize("field", [1.5, 3, 7, 15000, None])
def test_the_main_contrasts_hold_at_every_field_strength(field: float | None) -> None:
    for attributes, contrast in ((T1_SE, "T1"), (T2_TSE, "T2"), (FLAIR_TSE, "FLAIR"), (MPRAGE, "T1")):
        assert of(attributes, MagneticFieldStrength=field).contrast == contrast


@pytest.mark.parametrize(
    "attributes",
    [
        {**T2_TSE, "EchoTime": 12},  # proton density
        {**FLAIR_TSE, "InversionTime": 160, "EchoTime": 60},  # STIR
        {**FLAIR_TSE, "InversionTime": 900},  # neither fat nor CSF nulled
        {**T2_TSE, "EchoTime": 45, "RepetitionTime": 1400},  # between T1, PD and T2
        {**SPGR, "EchoTime": 25, "RepetitionTime": 600, "FlipAngle": 20},  # T2*
        {**SPGR, "FlipAngle": 3},  # PD-weighted gradient echo
        {**MPRAGE, "InversionTime": 2500},  # second image of MP2RAGE
        {**T2_TSE, "RepetitionTime": None},
        {**T2_TSE, "EchoTime": None},
    ],
)
def test_other_weightings_and_missing_times_give_no_contrast(attributes: dict[str, Any]) -> None:
    found = of(attributes)
    assert (found.contrast, found.usable) == (None, False)
    assert found.evidence


def test_a_missing_sequence_type_leads_to_abstention_and_not_to_a_guess() -> None:
    found = of(T2_TSE, ScanningSequence=None, SequenceVariant=None, MRAcquisitionType=None)
    assert found.contrast is None
    assert found.confidence <= 0.3
    assert "fits both" in found.evidence[0]


def test_a_name_breaks_a_tie_but_never_outvotes_the_timing() -> None:
    tie = of(T2_TSE, ScanningSequence="RM", SeriesDescription="AX T2")
    assert (tie.contrast, tie.confidence) == ("T2", 0.6)
    outvoted = of(T2_TSE, SeriesDescription="SAG T1")
    assert outvoted.contrast == "T2"
    assert outvoted.confidence < 0.7
    assert "never outvotes the timing" in outvoted.evidence[0]


@pytest.mark.parametrize("name", ["AX T2 FLAIR", "t2_tse_dark-fluid_tra", "フレア AX", "Ax Flair FS"])
def test_a_flair_without_a_stated_inversion_is_saved_by_its_name(name: str) -> None:
    assert (
        of({**FLAIR_TSE, "ScanningSequence": "SE", "InversionTime": None}, SeriesDescription=name).contrast
        == "FLAIR"
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("3-Plane Localizer", "localizer"),
        ("AAHead_Scout", "localizer"),
        ("定位像", "localizer"),
        ("gre_field_mapping", "fieldmap"),
        ("TOF 3D multislab", "angiography"),
        ("T1 perfusion DCE", "perfusion"),
        ("SWI_Images", "susceptibility"),
        ("t1 SUB post-pre", "derived"),
    ],
)
def test_a_name_of_another_kind_makes_the_classifier_abstain(name: str, kind: str) -> None:
    found = of({**SPGR, "EchoTime": 2}, SeriesDescription=name)
    assert (found.contrast, found.kind, found.usable) == (None, kind, False)


@pytest.mark.parametrize(
    ("more", "contrast"),
    [
        ({"ContrastBolusAgent": "Gadovist"}, "T1C"),
        ({"ContrastBolusAgent": "Anonymized"}, "T1C"),
        ({"ContrastBolusAgent": ""}, "T1"),
        ({"ContrastBolusAgent": "NONE"}, "T1"),
        ({"ContrastBolusAgent": "no"}, "T1"),
        ({"ContrastBolusVolume": 7.5}, "T1C"),
        ({"ContrastBolusVolume": 0}, "T1"),
        ({"SeriesDescription": "t1_mprage_sag_C"}, "T1C"),
        ({"SeriesDescription": "AX T1 +C"}, "T1C"),
        ({"SeriesDescription": "SAG T1 3D POST CONTRAST"}, "T1C"),
        ({"SeriesDescription": "sT1W_3D_MDC"}, "T1C"),
        ({"SeriesDescription": "T1 nach KM"}, "T1C"),
        ({"SeriesDescription": "T1 造影後"}, "T1C"),
        ({"SeriesDescription": "T1 senza mdc"}, "T1"),
        ({"SeriesDescription": "T1 without contrast"}, "T1"),
        ({"SeriesDescription": "T1 造影前"}, "T1"),
        ({"StudyDescription": "MRI BRAIN W WO CONTRAST"}, "T1"),
        ({"ContrastBolusAgent": "NONE", "SeriesDescription": "AX T1 +C"}, "T1"),
    ],
)
def test_the_agent_is_read_from_its_attribute_then_from_the_series_name(
    more: dict[str, Any], contrast: str
) -> None:
    assert of(T1_SE, **more).contrast == contrast


def test_an_agent_leaves_t2_and_flair_what_they_are() -> None:
    assert of(T2_TSE, ContrastBolusAgent="Dotarem").contrast == "T2"
    assert of(FLAIR_TSE, ContrastBolusAgent="Dotarem").agent is True


@pytest.mark.parametrize(
    "more",
    [
        {"SyntheticData": "YES"},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]},
        {"Manufacturer": "SyntheticMR AB"},
        {"PulseSequenceName": "MAGiC"},
    ],
)
def test_a_synthetic_object_is_never_used(more: dict[str, Any]) -> None:
    found = of(T1_SE, **more)
    assert (found.contrast, found.kind, found.usable) == (None, "synthetic", False)
    assert found.unusable_because == "synthetic"


def test_contributing_synthesizing_equipment_marks_a_synthetic_object() -> None:
    instances = series(attributes=T1_SE, pixels=False)
    purpose, equipment = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = (
        "109100",
        "DCM",
        "Synthesizing Equipment",
    )
    equipment.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    for instance in instances:
        instance.ContributingEquipmentSequence = DicomSequence([equipment])
    assert classify(instances).unusable_because == "synthetic"


@pytest.mark.parametrize("words", [["MPR"], ["CSA MPR", "", "CSAPARALLEL"]])
def test_a_reformat_keeps_its_contrast_but_is_not_usable(words: list[str]) -> None:
    found = of(FLAIR_TSE, ImageType=["DERIVED", "SECONDARY", *words])
    assert (found.contrast, found.kind, found.usable) == ("FLAIR", "derived", False)
    assert found.unusable_because == "derived"


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        (["ORIGINAL", "PRIMARY", "P", "ND"], "other"),
        (["DERIVED", "PRIMARY", "DIFFUSION", "FA"], "diffusion"),
        (["DERIVED", "PRIMARY", "PERFUSION", "RCBF"], "perfusion"),
        (["ORIGINAL", "PRIMARY", "M", "SWI"], "susceptibility"),
        (["DERIVED", "SECONDARY", "SCREEN SAVE"], "derived"),
        (["DERIVED", "PRIMARY", "T2 MAP"], "derived"),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer"),
        (["ORIGINAL", "PRIMARY", "FMRI", "NONE"], "functional"),
        (["DERIVED", "SECONDARY", "SUBTRACTION"], "derived"),
    ],
)
def test_image_type_tells_maps_phase_and_captures(image_type: list[str], kind: str) -> None:
    found = of(T2_TSE, ImageType=image_type)
    assert (found.contrast, found.kind, found.usable) == (None, kind, False)


def test_a_projection_of_a_gradient_echo_is_no_t1() -> None:
    found = of(SPGR, ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"])
    assert (found.contrast, found.kind) == (None, "angiography")


def test_siemens_adaptive_combine_is_not_mistaken_for_an_adc_map() -> None:
    assert of(T1_SE, ImageType=["ADC", "PRIMARY", "M", "ND", "NORM"]).contrast == "T1"


def test_another_modality_and_a_capture_object_are_named() -> None:
    ct = series(
        pixels=False, attributes={**T1_SE, "Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}
    )
    assert classify(ct).kind == "not_mr"
    capture = series(pixels=False, attributes={**T1_SE, "SOPClassUID": SecondaryCaptureImageStorage})
    assert classify(capture).kind == "derived"
    assert "Secondary Capture" in classify(capture).evidence[0]


def test_three_planes_in_one_series_are_a_localizer() -> None:
    images = [
        one
        for plane in (AXIAL, SAGITTAL, CORONAL)
        for one in series(count=1, orientation=plane, pixels=False)
    ]
    for image in images:
        image.SeriesInstanceUID = images[0].SeriesInstanceUID
    assert classify(images).kind == "localizer"


def test_a_fast_coarse_gradient_echo_is_a_scout() -> None:
    found = of(SPGR, RepetitionTime=4.5, FlipAngle=8, PixelSpacing=["1.6", "1.6"], SliceThickness="1.6")
    assert (found.contrast, found.kind) == (None, "localizer")


@pytest.mark.parametrize(
    "more",
    [
        {"DiffusionBValue": 0.0},
        {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], "DiffusionDirectionality": "DIRECTIONAL"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], "SequenceName": "*ep_b1000#12"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "SeriesDescription": "DTI 32 dir"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "DiffusionBValue": None, "SeriesDescription": "DWI"},
    ],
)
def test_b0_directions_and_unstated_diffusion_are_not_dwi(more: dict[str, Any]) -> None:
    found = of(DWI_EPI, **more)
    assert (found.contrast, found.kind) == (None, "diffusion")


@pytest.mark.parametrize(
    ("tag", "vr", "creator", "value"),
    [
        (0x0019100C, "IS", "SIEMENS MR HEADER", 1000),
        (0x00431039, "IS", "GEMS_PARM_01", [1000001000, 8, 0, 0]),
        (0x20011003, "FL", "Philips Imaging DD 001", 1000.0),
        (0x00651009, "FD", "Image Private Header", 998.5),
    ],
)
def test_the_b_value_is_read_from_every_vendors_private_attribute(
    tag: int, vr: str, creator: str, value: object
) -> None:
    instances = series(attributes={k: v for k, v in DWI_EPI.items() if k != "DiffusionBValue"}, pixels=False)
    for instance in instances:
        block = Tag(tag >> 16, (tag & 0xFFFF) >> 8)
        instance[block] = DataElement(block, "LO", creator)
        instance[Tag(tag)] = DataElement(Tag(tag), vr, value)
    found = classify(instances)
    assert found.contrast == "DWI"
    assert found.b_value == pytest.approx(1000, abs=5)


def test_a_philips_isotropic_image_is_the_trace() -> None:
    instances = series(
        attributes={**DWI_EPI, "ImageType": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]}, pixels=False
    )
    assert classify(instances).contrast is None
    for instance in instances:
        instance[Tag(0x2001, 0x10)] = DataElement(Tag(0x2001, 0x10), "LO", "Philips Imaging DD 001")
        instance[Tag(0x20011004)] = DataElement(Tag(0x20011004), "CS", "I")
    assert classify(instances).contrast == "DWI"


def test_of_a_series_with_b0_and_b1000_the_trace_counts_and_is_given_alone() -> None:
    weighted = series(count=4, attributes=DWI_EPI, pixels=False)
    plain = series(count=4, attributes={**DWI_EPI, "DiffusionBValue": 0.0}, pixels=False)
    for instance in plain:
        instance.SeriesInstanceUID = weighted[0].SeriesInstanceUID
    mixed = [*plain, *weighted]
    found = classify(mixed)
    assert (found.contrast, found.b_value, found.instances, found.slices) == ("DWI", 1000.0, 8, 4)
    assert {one.SOPInstanceUID for one in main_stack(mixed).instances} == {
        one.SOPInstanceUID for one in weighted
    }


def test_of_a_double_echo_the_t2_image_counts() -> None:
    early = series(count=4, attributes={**T2_TSE, "EchoTime": 12}, pixels=False)
    late = series(count=4, attributes=T2_TSE, pixels=False)
    for instance in early:
        instance.SeriesInstanceUID = late[0].SeriesInstanceUID
    assert classify([*early, *late]).contrast == "T2"
    assert {one.EchoTime for one in main_stack([*early, *late]).instances} == {95}


@pytest.mark.parametrize(
    "more",
    [
        {"BodyPartExamined": "CSPINE"},
        {"BodyPartExamined": "KNEE"},
        {"BodyPartExamined": None, "StudyDescription": "RM RACHIDE LOMBARE"},
        {"BodyPartExamined": None, "SeriesDescription": "T2 prostate"},
        {
            "BodyPartExamined": "BRAIN",
            "StudyDescription": "MRI BRAIN AND SPINE",
            "SeriesDescription": "SAG T2 C-SPINE",
        },
    ],
)
def test_a_body_part_that_is_no_head_is_not_usable(more: dict[str, Any]) -> None:
    found = of(T2_TSE, **more)
    assert (found.contrast, found.usable, found.unusable_because) == (None, False, "not_head")
    assert "the timing reads as T2" in found.evidence[0]


@pytest.mark.parametrize(
    "more",
    [
        {"BodyPartExamined": "TSPINE", "StudyDescription": "MRI BRAIN WITHOUT CONTRAST"},
        {"BodyPartExamined": None, "StudyDescription": "RM ENCEFALO CON MDC"},
        {"BodyPartExamined": None, "StudyDescription": "頭部MRI"},
        {"BodyPartExamined": None, "ReceiveCoilName": "HeadNeck_64"},
    ],
)
def test_a_head_that_anything_states_is_usable(more: dict[str, Any]) -> None:
    assert of(T2_TSE, **more).usable


def test_a_body_part_that_nothing_states_needs_the_pixels_or_a_sequence_of_the_brain() -> None:
    unstated = series(attributes={**T2_TSE, "BodyPartExamined": ""}, pixels=False)
    from_headers = classify(unstated)
    assert (from_headers.contrast, from_headers.usable) == ("T2", False)
    assert from_headers.unusable_because == "body_part_unstated"
    assert "Headers alone cannot say that this is a head" in from_headers.evidence[-1]
    assert classify(unstated, pixels_blank=False).usable
    assert of(FLAIR_TSE, BodyPartExamined=None).usable
    assert of(MPRAGE, BodyPartExamined=None).usable
    assert not of(SPGR, BodyPartExamined=None).usable


@pytest.mark.parametrize("attributes", [T2_TSE, T1_SE])
def test_a_sagittal_spin_echo_without_a_body_part_may_be_a_spine_and_is_not_given_a_contrast(
    attributes: dict[str, Any],
) -> None:
    sagittal = series(attributes={**attributes, "BodyPartExamined": ""}, orientation=SAGITTAL, pixels=False)
    for pixels_blank in (None, False):
        found = classify(sagittal, pixels_blank=pixels_blank)
        assert (found.contrast, found.unusable_because) == (None, "body_part_unstated")
        assert "examinations of the spine" in found.evidence[-1]
    assert classify(series(attributes=attributes, orientation=SAGITTAL, pixels=False)).usable


@pytest.mark.parametrize(
    "more",
    [
        {"QualityControlSubject": "YES"},
        {"QualityControlImage": "YES"},
        {"PatientSpeciesDescription": "Canis familiaris"},
    ],
)
def test_a_phantom_and_an_animal_are_no_head_whatever_the_body_part_says(more: dict[str, Any]) -> None:
    assert of(T2_TSE, **more).unusable_because == "not_head"
    assert of(T2_TSE, PatientSpeciesDescription="Homo sapiens").usable


def test_enhanced_functional_groups_are_read() -> None:
    found = classify([enhanced()])
    assert (found.contrast, found.plane, found.slices) == ("T1", "sagittal", 5)
    assert "TI 900 ms" in found.evidence[0]


def test_blank_pixels_and_broken_geometry_are_not_usable_but_keep_the_contrast() -> None:
    instances = series(pixels=False)
    blank = classify(instances, pixels_blank=True)
    assert (blank.contrast, blank.usable, blank.unusable_because) == ("T2", False, "blank_pixels")
    broken = classify(instances, geometry_problem="position (1, 2, 3) mm: 1 slice is missing")
    assert (broken.usable, broken.unusable_because) == (False, "geometry")
    assert "1 slice is missing" in broken.evidence[-1]
    both = classify(
        instances, pixels_blank=True, geometry_problem="position (1, 2, 3) mm: 1 slice is missing"
    )
    assert both.unusable_because == "blank_pixels"


def test_plane_spacing_and_coverage_are_described() -> None:
    found = classify(series(count=20, spacing=5.5, pixels=False))
    assert (found.plane, found.slice_spacing_mm, found.coverage_mm, found.in_plane_mm) == (
        "axial",
        5.5,
        110.0,
        0.9,
    )
    thin = classify(series(count=20, spacing=1.0, attributes=MPRAGE, pixels=False))
    assert thin.plane == "3d"


def test_the_order_of_the_headers_does_not_matter() -> None:
    instances = series(count=5, pixels=False)
    forwards, backwards = classify(instances), classify(instances[::-1])
    assert forwards == backwards


def test_headers_of_two_series_are_refused() -> None:
    with pytest.raises(ClassifyError) as error:
        classify([*series(count=2, pixels=False), *series(count=2, pixels=False)])
    assert error.value.code == "mixed_series"
    with pytest.raises(ClassifyError):
        classify([])


def test_a_sites_override_outranks_the_rules_and_is_quoted() -> None:
    rules = ClassifyRules.from_mappings([{"description": "^SPECIAL", "contrast": "FLAIR"}])
    instances = series(attributes={**T2_TSE, "SeriesDescription": "special 3"}, pixels=False)
    found = classify(instances, overrides=rules)
    assert (found.contrast, found.confidence, found.usable) == ("FLAIR", 1.0, True)
    assert found.evidence[0] == 'The site\'s rule for description "^SPECIAL" says FLAIR.'
    assert found.evidence[1] == "The rules said T2."


def test_an_override_of_none_takes_a_series_out() -> None:
    rules = ClassifyRules.from_mappings([{"station": "^TRAINING$", "contrast": "none"}])
    found = classify(series(attributes={**T2_TSE, "StationName": "TRAINING"}, pixels=False), overrides=rules)
    assert (found.contrast, found.usable) == (None, False)


def test_no_override_makes_a_synthetic_object_usable() -> None:
    rules = ClassifyRules.from_mappings([{"description": "T1", "contrast": "T1"}])
    instances = series(attributes={**T1_SE, "SeriesDescription": "T1", "SyntheticData": "YES"}, pixels=False)
    assert classify(instances, overrides=rules).unusable_because == "synthetic"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"description": "T1", "contrast": "T3"}, 'contrast is "T3"'),
        ({"description": "(", "contrast": "T1"}, "no regular expression"),
        ({"contrast": "T1"}, "would match every series"),
        ({"descripton": "T1", "contrast": "T1"}, 'the key "descripton" is unknown'),
    ],
)
def test_a_wrong_override_is_refused_with_a_valid_example(row: dict[str, str], said: str) -> None:
    with pytest.raises(ClassifyError) as error:
        ClassifyRules.from_mappings([{"description": "ok", "contrast": "T1"}, row])
    assert said in error.value.reason
    assert error.value.subject == "classification override 2"
    assert "FLAIR" in error.value.cure


def test_invalid_text_in_number_fields_is_read_as_absent() -> None:
    instances = series(pixels=False)
    for instance in instances:
        instance["RepetitionTime"] = DataElement(Tag("RepetitionTime"), "LO", "***")
    assert classify(instances).contrast is None


def test_values_that_break_their_vr_are_read_all_the_same() -> None:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (image,) = series(
            count=1, attributes={**T2_TSE, "SequenceVariant": "SK_SP_OSP_LONG_LONG"}, pixels=False
        )
        image.save_as(buffer, enforce_file_format=True)
    assert classify([dcmread(BytesIO(buffer.getvalue()))]).contrast == "T2"


def test_several_time_points_are_a_dynamic_series() -> None:
    instances = series(attributes=SPGR, pixels=False)
    for _ in range(2):
        for instance in series(attributes=SPGR, pixels=False):
            instance.SeriesInstanceUID = instances[0].SeriesInstanceUID
            instances.append(instance)
    found = classify(instances)
    assert (found.contrast, found.kind) == (None, "perfusion")
    assert "3 images lie at each position" in found.evidence[0]
