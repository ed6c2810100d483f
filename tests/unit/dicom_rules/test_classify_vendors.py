"""What vendors write into attributes of their own: b-values, directions, reconstructions, synthetic outputs, stacks."""

from __future__ import annotations

import copy
import struct
from typing import Any

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from dicom_rules.classify import classify, main_stack
from dicom_rules.errors import GeometryError
from dicom_rules.geometry import to_volume
from tests.unit.dicom_rules.slices import AXIAL, DWI_EPI, FLAIR_TSE, T1_SE, T2_TSE, enhanced, series

RAW_DWI = {
    keyword: value for keyword, value in DWI_EPI.items() if keyword not in ("DiffusionBValue", "ImageType")
} | {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]}


def with_private(instances: list[Dataset], tag: int, vr: str, value: Any, creator: str = "") -> list[Dataset]:
    for instance in instances:
        if creator:
            block = Tag(tag >> 16, (tag & 0xFFFF) >> 8)
            instance[block] = DataElement(block, "LO", creator)
        instance[Tag(tag)] = DataElement(Tag(tag), vr, value)
    return instances


def csa_header(**values: str) -> bytes:
    """A CSA header of the second form (SV10) that holds these tags with one value each."""
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(values), 77)
    for name, value in values.items():
        raw = value.encode() + b"\0"
        content += struct.pack("<64si4siii", name.encode(), 1, b"IS", 6, 1, 77)
        content += struct.pack("<iiii", len(raw), len(raw), 77, len(raw)) + raw + b"\0" * (-len(raw) % 4)
    return content


def test_the_csa_header_of_older_siemens_software_gives_b_value_and_directionality() -> None:
    trace = series(attributes=RAW_DWI, pixels=False)
    with_private(trace, 0x00291010, "OB", csa_header(B_value="1000", DiffusionDirectionality="ISOTROPIC"))
    found = classify(trace)
    assert (found.contrast, found.b_value) == ("DWI", 1000.0)
    single = series(attributes=RAW_DWI, pixels=False)
    with_private(single, 0x00291010, "OB", csa_header(B_value="1000", DiffusionDirectionality="DIRECTIONAL"))
    assert classify(single).contrast is None
    assert "single diffusion directions" in classify(single).evidence[0].lower()


def test_siemens_says_isotropic_in_its_own_attribute() -> None:
    images = series(attributes=RAW_DWI, pixels=False)
    with_private(images, 0x0019100C, "IS", 1000, "SIEMENS MR HEADER")
    with_private(images, 0x0019100D, "CS", "ISOTROPIC")
    assert classify(images).contrast == "DWI"


@pytest.mark.parametrize(
    ("comment", "contrast", "said"),
    [
        ("b=1000", None, "nothing says whether this is the trace"),
        ("b=1000(0.445,0.000,0.895)", None, "Single diffusion directions"),
        ("ISO b=1000", None, "nothing says whether this is the trace"),
    ],
)
def test_canon_keeps_the_b_value_in_image_comments(comment: str, contrast: str | None, said: str) -> None:
    images = series(
        attributes={
            **RAW_DWI,
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
            "Manufacturer": "CANON_MEC",
            "ImageComments": comment,
        },
        pixels=False,
    )
    found = classify(images)
    assert (found.contrast, found.b_value) == (contrast, 1000.0)
    assert said in found.evidence[0]


@pytest.mark.parametrize(
    ("more", "private", "said"),
    [
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "DRB", "NORM", "DRS", "DIS2D"]},
            None,
            "Deep Resolve Boost",
        ),
        ({"Manufacturer": "GE MEDICAL SYSTEMS"}, (0x004310CA, "LO", ["0.75", "High"]), "AIR Recon DL"),
        ({"Manufacturer": "Philips"}, (0x2005110F, "LO", "CS_SENSE_AI"), "CS_SENSE_AI"),
        ({"SeriesDescription": "t2_tse_tra_DeepResolve"}, None, "the name says"),
    ],
)
def test_a_vendors_network_is_named_and_the_series_stays_usable(
    more: dict[str, Any], private: tuple[int, str, Any] | None, said: str
) -> None:
    images = series(attributes={**T2_TSE, **more}, pixels=False)
    if private is not None:
        with_private(images, *private)
    found = classify(images)
    assert (found.contrast, found.usable) == ("T2", True)
    assert said.lower() in found.deep_learning.lower()
    assert any("network of the vendor" in sentence for sentence in found.evidence)


def test_the_words_of_an_enhanced_object_name_the_network_too() -> None:
    one = enhanced()
    own = Dataset()
    own[Tag(0x00211175)] = DataElement(Tag(0x00211175), "CS", ["ORIGINAL", "PRIMARY", "M", "DRG", "NORM"])
    for group in one.PerFrameFunctionalGroupsSequence:
        group[Tag(0x002111FE)] = DataElement(Tag(0x002111FE), "SQ", DicomSequence([own]))
    assert "Deep Resolve Gain" in classify([one]).deep_learning


def test_a_reconstruction_that_is_switched_off_is_not_named() -> None:
    images = series(attributes={**T2_TSE, "Manufacturer": "GE MEDICAL SYSTEMS"}, pixels=False)
    assert classify(with_private(images, 0x004310CA, "LO", ["0", "Off"])).deep_learning == ""


@pytest.mark.parametrize(
    "more",
    [
        {"Manufacturer": "SyntheticMR"},
        {"SoftwareVersions": ["SyMRI 11.3.6"]},
        {"SoftwareVersions": ["28", "LX", "MAGiC 100.1.1"]},
        {"PulseSequenceName": "MAGIC"},
        {"SequenceName": "mdme"},
        {"SequenceName": "qrapmaster"},
        {"SequenceName": "qalas3d"},
    ],
)
@pytest.mark.parametrize("attributes", [T1_SE, T2_TSE, FLAIR_TSE])
def test_outputs_of_quantitative_sequences_are_synthetic_whatever_contrast_they_imitate(
    attributes: dict[str, Any], more: dict[str, Any]
) -> None:
    found = classify(series(attributes={**attributes, **more}, pixels=False))
    assert (found.contrast, found.kind, found.unusable_because) == (None, "synthetic", "synthetic")


def joined(*stacks: list[Dataset]) -> list[Dataset]:
    """Several stacks as one series."""
    images = [image for stack in stacks for image in stack]
    for image in images:
        image.SeriesInstanceUID = images[0].SeriesInstanceUID
        image.FrameOfReferenceUID = images[0].FrameOfReferenceUID
    return images


def test_adc_beside_the_trace_is_a_stack_of_its_own_and_given_alone() -> None:
    adc = series(
        attributes={**DWI_EPI, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, pixels=False, count=4
    )
    trace = series(attributes=DWI_EPI, pixels=False, count=4)
    plain = series(attributes={**DWI_EPI, "DiffusionBValue": 0.0}, pixels=False, count=4)
    mixed = joined(trace, plain, adc)
    found = classify(mixed)
    assert found.contrast == "DWI"
    assert [(stack.contrast, stack.images, stack.usable, stack.speaks) for stack in found.stacks] == [
        ("DWI", 4, True, True),
        ("ADC", 4, True, False),
        (None, 4, False, False),
    ]
    assert "b = 0 s/mm2" in found.stacks[2].label
    assert any("The series mixes 3 stacks" in sentence for sentence in found.evidence)
    assert {one.SOPInstanceUID for one in main_stack(mixed, "ADC").instances} == {
        one.SOPInstanceUID for one in adc
    }
    assert {one.SOPInstanceUID for one in main_stack(mixed).instances} == {
        one.SOPInstanceUID for one in trace
    }
    assert {one.SOPInstanceUID for one in main_stack(mixed, "FLAIR").instances} == {
        one.SOPInstanceUID for one in trace
    }


def test_magnitude_beside_phase_is_split_and_the_magnitude_speaks() -> None:
    magnitude = series(attributes=T2_TSE, pixels=False)
    phase = series(attributes={**T2_TSE, "ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, pixels=False)
    found = classify(joined(phase, magnitude))
    assert found.contrast == "T2"
    assert [(stack.label.split(",")[0], stack.contrast) for stack in found.stacks] == [
        ("magnitude", "T2"),
        ("phase", None),
    ]


def test_a_second_stack_with_a_gap_is_shown_but_not_usable() -> None:
    adc = series(
        attributes={**DWI_EPI, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]},
        pixels=False,
        count=6,
        orientation=AXIAL,
    )
    del adc[3]
    found = classify(joined(series(attributes=DWI_EPI, pixels=False), adc))
    assert (found.stacks[1].contrast, found.stacks[1].usable) == ("ADC", False)
    assert "1 slice is missing" in found.stacks[1].evidence[-1]


def test_the_stacks_of_one_multi_frame_object_are_told_apart_and_read_alone() -> None:
    one = enhanced(count=4, orientation=AXIAL)
    one.EchoPulseSequence, one.EchoPlanarPulseSequence, one.MRAcquisitionType = "SPIN", "YES", "2D"
    shared = one.SharedFunctionalGroupsSequence[0]
    del shared.MRModifierSequence
    shared.MRTimingAndRelatedParametersSequence[0].RepetitionTime = 5000.0
    groups = []
    for group in one.PerFrameFunctionalGroupsSequence:
        group.MREchoSequence[0].EffectiveEchoTime = 85.0
        for b_value, words in ((0.0, "NONE"), (1000.0, "ISOTROPIC")):
            frame = copy.deepcopy(group)
            weighting = Dataset()
            weighting.DiffusionBValue, weighting.DiffusionDirectionality = b_value, words
            frame.MRDiffusionSequence = DicomSequence([weighting])
            groups.append(frame)
    one.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    one.NumberOfFrames = len(groups)
    size = one.Rows * one.Columns * 2
    one.PixelData = b"".join(
        one.PixelData[place * size : (place + 1) * size] * 2 for place in range(len(groups) // 2)
    )
    found = classify([one], pixels_blank=False)
    assert (found.contrast, found.usable, found.slices) == ("DWI", True, 4)
    assert [(stack.contrast, stack.images) for stack in found.stacks] == [("DWI", 4), (None, 4)]
    images = main_stack([one])
    assert images.only == {(str(one.SOPInstanceUID), number) for number in (2, 4, 6, 8)}
    volume = to_volume(images.instances, only=images.only)
    assert [ref.frame for ref in volume.slices] == [2, 4, 6, 8]
    assert volume.array[3, 0, 0] == 3 * 1000 * 2 + 3
    with pytest.raises(GeometryError):
        to_volume([one])
