"""Which source slices a result names, and how."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset

from tests.unit.derive.cases import Case, case_of, grid, make_case, scanned


def named(one: Dataset, sources: Iterable[Dataset]) -> list[tuple[int, str]]:
    """(InstanceNumber, locations preserved) of the sources that `one` names, in the order of `sources`."""
    items = {item.ReferencedSOPInstanceUID: item for item in one.SourceImageSequence}
    found = [(source, items[source.SOPInstanceUID]) for source in sources if source.SOPInstanceUID in items]
    return [(int(source.InstanceNumber), item.SpatialLocationsPreserved) for source, item in found]


def test_a_slice_names_its_own_reference_slice_alone_with_locations_preserved() -> None:
    case = make_case()
    for index, one in enumerate(case.encode(), start=1):
        assert named(one, case.sources["T2"]) == [(index, "YES")]


def test_a_source_on_the_same_grid_is_named_by_its_twin_slice() -> None:
    case = make_case(resampled=())
    assert named(case.encode()[2], case.sources["T1"]) == [(3, "YES")]


def test_a_resampled_source_names_the_neighbours_that_interpolation_read() -> None:
    case = make_case()  # the same positions, but interpolated
    assert named(case.encode()[2], case.sources["T1"]) == [(2, "NO"), (3, "NO"), (4, "NO")]
    shifted = make_case(t1_affine=grid(origin=(-10, -10, 2.5)))
    assert named(shifted.encode()[2], shifted.sources["T1"]) == [(2, "NO"), (3, "NO")]


def test_all_slices_of_a_perpendicular_source_that_cross_the_slice_are_named() -> None:
    sagittal = np.eye(4)
    sagittal[:3, 0], sagittal[:3, 1], sagittal[:3, 2] = (0, 1, 0), (0, 0, -2), (4, 0, 0)
    sagittal[:3, 3] = (-10, -10, 24)  # x from -12 to 12, z from 25 down to -15
    case = make_case(t1_affine=sagittal)
    crossing = [number for number, _ in named(case.encode()[0], case.sources["T1"])]
    assert crossing == [
        1,
        2,
        3,
        4,
        5,
    ]  # the sixth lies at x = 10, beyond the image's edge at 5.5 and its reach
    far = sagittal.copy()
    far[2, 3] = 300
    assert named(make_case(t1_affine=far).encode()[0], make_case(t1_affine=far).sources["T1"]) == []


def test_neighbours_that_the_network_read_are_named_but_not_as_the_same_place() -> None:
    case = make_case(neighbour_slices=1, resampled=())
    assert named(case.encode()[2], case.sources["T2"]) == [(2, "NO"), (3, "YES"), (4, "NO")]
    assert named(case.encode()[0], case.sources["T2"]) == [(1, "YES"), (2, "NO")]


def test_a_registered_source_is_placed_by_its_alignment() -> None:
    shift = np.eye(4)
    shift[2, 3] = 10.0  # the head had moved by two slices between the series
    case = make_case(alignment={"T1": shift})
    assert [number for number, _ in named(case.encode()[3], case.sources["T1"])] == [1, 2, 3]


def test_items_say_what_the_source_was_for() -> None:
    item = make_case().encode()[0].SourceImageSequence[0]
    assert item.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
    code = item.PurposeOfReferenceCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("121322", "DCM")


def test_related_series_are_the_sources_in_order() -> None:
    case = make_case()
    items = case.encode()[0].RelatedSeriesSequence
    assert [item.SeriesInstanceUID for item in items] == [
        case.sources[c][0].SeriesInstanceUID for c in ("T1", "T2")
    ]
    assert {item.StudyInstanceUID for item in items} == {case.sources["T2"][0].StudyInstanceUID}
    assert {item.PurposeOfReferenceCodeSequence[0].CodeValue for item in items} == {"121323"}


def multi_frame(series: list[Dataset]) -> Dataset:
    """The slices of a classic series as the frames of one enhanced object (geometry only)."""
    one = Dataset()
    for keyword in (
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
        "Rows",
        "Columns",
    ):
        one[keyword] = series[0][keyword]
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.3.4.5"
    one.NumberOfFrames = len(series)
    one.PerFrameFunctionalGroupsSequence = []
    for source in series:
        group, position, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = source.ImagePositionPatient
        orientation.ImageOrientationPatient = source.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = source.PixelSpacing, source.SliceThickness
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [orientation]
        group.PixelMeasuresSequence = [measures]
        one.PerFrameFunctionalGroupsSequence.append(group)
    return one


def test_frames_of_an_enhanced_source_share_one_item() -> None:
    plain = make_case()
    enhanced = multi_frame(list(plain.sources["T1"]))
    case = Case(
        sources={"T1": [enhanced], "T2": plain.sources["T2"]}, reference=plain.reference, result=plain.result
    )
    first = case.encode()[2].SourceImageSequence[0]
    assert first.ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert list(first.ReferencedFrameNumber) == [2, 3, 4]
    assert case_of({"T2": scanned("T2", number=2)}, reference="T2").encode()[0].RelatedSeriesSequence
