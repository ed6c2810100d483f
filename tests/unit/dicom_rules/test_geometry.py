"""A series becomes a volume in the patient's coordinates, or is refused with the slice at fault."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import JPEGLSLossless, RLELossless

from dicom_rules.errors import GeometryError
from dicom_rules.geometry import check, to_volume
from tests.enhanced import as_enhanced
from tests.unit.dicom_rules.slices import AXIAL, CORONAL, SAGITTAL, enhanced, plane, series


def refused(instances: list[Dataset]) -> GeometryError:
    """The error that both doors raise, with pixels and without."""
    with pytest.raises(GeometryError) as with_pixels:
        to_volume(instances)
    headers = [Dataset(instance) for instance in instances]
    for header, instance in zip(headers, instances, strict=True):
        header.filename = getattr(instance, "filename", None)
    with pytest.raises(GeometryError) as without:
        check(headers)
    assert without.value.code == with_pixels.value.code
    return with_pixels.value


def test_slices_follow_their_positions_and_never_the_instance_numbers() -> None:
    instances = series(count=6)  # InstanceNumber counts downwards
    random.Random(3).shuffle(instances)
    volume = to_volume(instances)
    assert [float(one.image_position[2]) for one in volume.slices] == [
        -40.0,
        -35.0,
        -30.0,
        -25.0,
        -20.0,
        -15.0,
    ]
    assert volume.array.shape == (6, 4, 5)
    assert volume.array.dtype == np.float32
    assert volume.array[2, 3, 1] == 2031


def test_a_voxel_index_maps_to_its_place_in_the_patient() -> None:
    volume = to_volume(series(count=4, spacing=5.0))
    # column 2, row 3, slice 1: PixelSpacing is 0.9 between rows, 0.8 between columns
    assert (volume.affine @ [2, 3, 1, 1])[:3] == pytest.approx([-100 + 1.6, -110 + 2.7, -35])
    assert volume.spacing_mm == pytest.approx((0.8, 0.9, 5.0))


def test_position_strings_are_kept_exactly_as_received() -> None:
    instances = series(count=3)
    for index, instance in enumerate(instances):
        instance.ImagePositionPatient = ["-1.0E2", "-110.00", f"{index * 5}.000"]
    volume = to_volume(instances)
    assert volume.slices[1].image_position == ("-1.0E2", "-110.00", "5.000")
    assert volume.slices[1].pixel_spacing == ("0.9", "0.8")
    assert volume.slices[1].frame is None


def test_the_modality_rescale_is_applied() -> None:
    instances = series(count=3)
    for instance in instances:
        instance.RescaleSlope, instance.RescaleIntercept = "2.5", "-10"
    assert to_volume(instances).array[1, 0, 1] == pytest.approx(1001 * 2.5 - 10)


def test_a_real_world_map_of_a_diffusivity_is_applied_and_said() -> None:
    instances = series(count=3)
    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "um2/s", "UCUM", "um2/s"
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 0.5, 0.0
    mapping.MeasurementUnitsCodeSequence = DicomSequence([unit])
    for instance in instances:
        instance.RealWorldValueMappingSequence = DicomSequence([mapping])
    volume = to_volume(instances)
    assert volume.array[2, 0, 0] == 1000
    assert "Values are real-world values in um2/s." in volume.notes


def test_enhanced_frames_are_placed_by_their_own_positions_and_scaled_by_their_own_rescale() -> None:
    volume = to_volume([enhanced(count=5, shuffled=(3, 0, 4, 1, 2))])
    assert [one.frame for one in volume.slices] in ([2, 4, 5, 1, 3], [3, 1, 5, 4, 2])
    ascending = [one.frame for one in volume.slices] == [2, 4, 5, 1, 3]
    expected = plane(0 if ascending else 4) * 2.0 + (0 if ascending else 4)
    assert np.array_equal(volume.array[0], expected)
    assert volume.slices[0].slice_thickness == "3.0"


def test_thin_slices_far_apart_are_regular_and_said_to_have_gaps() -> None:
    instances = series(count=5, spacing=4.0)
    for instance in instances:
        instance.SliceThickness = "1"
    volume = to_volume(instances)
    assert volume.notes == ("Slices of 1 mm lie 4.00 mm apart, with gaps between them; the spacing is used.",)


def test_a_missing_slice_is_refused_and_its_place_named() -> None:
    instances = series(count=8)
    del instances[3]
    error = refused(instances)
    assert error.code == "gap"
    assert error.subject == "position (-100.00, -110.00, -25.00) mm"
    assert "1 slice is missing" in error.reason
    assert instances[2].SOPInstanceUID in error.reason


def test_several_missing_slices_are_counted() -> None:
    instances = [one for index, one in enumerate(series(count=20)) if index not in (4, 5, 9, 15, 16)]
    error = refused(instances)
    assert error.code == "gap"
    assert "5 slices are missing" in error.reason
    assert error.subject.endswith("and 2 more")


def test_one_short_break_between_two_regular_blocks_is_accepted_and_said() -> None:
    instances = series(count=12)
    for instance in instances[6:]:
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y, z + 2.5]
    volume = to_volume(instances)
    assert "one step of 7.50 mm" in volume.notes[0]
    assert volume.slices[-1].image_position[2] == "17.5"
    even = [(volume.affine @ [0, 0, s, 1])[2] for s in range(12)]
    true = [float(one.image_position[2]) for one in volume.slices]
    assert np.abs(np.subtract(even, true)).max() < 5 / 3


@pytest.mark.parametrize("moved", [(0, -1.0), (5, 1.0), (2, 1.0), (3, -0.2)])
def test_a_single_displaced_slice_is_refused(moved: tuple[int, float]) -> None:
    instances = series(count=6)
    index, by = moved
    x, y, z = map(float, instances[index].ImagePositionPatient)
    instances[index].ImagePositionPatient = [x, y, z + by]
    assert refused(instances).code == "irregular"


def test_spacing_may_vary_by_less_than_one_percent() -> None:
    instances = series(count=6)
    for index, instance in enumerate(instances):
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y, round(z + 0.02 * (index % 2), 3)]
    assert to_volume(instances).spacing_mm[2] == pytest.approx(5.0, abs=0.01)


def test_two_slabs_that_do_not_continue_each_other_are_refused_and_each_is_named() -> None:
    instances = series(count=10)
    for instance in instances[5:]:
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y, z + 11.7]
    error = refused(instances)
    assert error.code == "slabs"
    assert instances[4].SOPInstanceUID in error.subject
    assert "at (-100.00, -110.00, -20.00) mm" in error.subject
    assert "5 slices from (-100.00, -110.00, -40.00) mm to (-100.00, -110.00, -20.00) mm" in error.reason
    assert "5 slices from (-100.00, -110.00, -3.30) mm" in error.reason
    assert error.cure == "Send each slab as a series of its own"


def test_three_slabs_are_counted() -> None:
    instances = series(count=15)
    for index, instance in enumerate(instances):
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y, z + 3.3 * (index // 5)]
    assert "consists of 3 slabs" in refused(instances).reason


def test_overlapping_slabs_are_refused_at_the_place_where_they_meet() -> None:
    instances = [*series(count=8), *series(count=8, origin=(-100.0, -110.0, -12.5))]
    for instance in instances:
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(instance, keyword, getattr(instances[0], keyword))
    error = refused(instances)
    assert error.code in ("irregular", "slabs")
    assert "mm" in error.subject


def test_slabs_that_continue_each_other_are_one_volume_in_whatever_order_they_were_acquired() -> None:
    instances = series(count=12)
    acquired = [*instances[0::2], *instances[1::2]]  # interleaved: even slices first
    for number, instance in enumerate(acquired):
        instance.InstanceNumber = number
        instance.AcquisitionNumber = 1 + number // 6
    volume = to_volume(acquired)
    assert volume.array[:, 0, 0].tolist() == [1000.0 * k for k in range(12)]


def test_small_differences_that_add_up_are_said() -> None:
    instances = series(count=60)
    for index, instance in enumerate(instances):
        z = index * 4.98 + 0.04 * max(0, index - 30)  # 0.8 % more from the middle on
        instance.ImagePositionPatient = [-100, -110, round(z, 4)]
    volume = to_volume(instances)
    assert "off the even grid used for registration" in volume.notes[0]


def test_small_differences_that_add_up_to_a_third_of_a_slice_are_refused() -> None:
    instances = series(count=200, spacing=2.0)
    for index, instance in enumerate(instances):
        z = index * 1.99 + 0.02 * max(0, index - 100)
        instance.ImagePositionPatient = [-100, -110, round(z, 4)]
    assert refused(instances).code in ("irregular", "slabs")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: setattr(one, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]),
        lambda one: setattr(one, "Columns", 7),
        lambda one: setattr(one, "PixelSpacing", ["0.9", "0.7"]),
        lambda one: setattr(one, "ImagePositionPatient", [-99, -110, -25]),
        lambda one: setattr(one, "ImagePositionPatient", [-100, -110, -26.1]),
    ],
)
def test_a_refusal_names_the_image_its_file_and_its_place_in_mm(spoil: Callable[[Dataset], None]) -> None:
    instances = series(count=6)
    for number, instance in enumerate(instances):
        instance.filename = f"IM{number:04d}"
    spoil(instances[3])
    error = refused(instances)
    assert f"{instances[3].SOPInstanceUID} (IM0003) at (" in error.subject
    assert ") mm" in error.subject


def test_a_frame_of_reference_that_changes_within_the_series_is_named_by_its_image() -> None:
    instances = series(count=5)
    instances[3].FrameOfReferenceUID = "1.2.3"
    assert instances[3].SOPInstanceUID in refused(instances).reason


def test_an_object_that_describes_fewer_frames_than_it_holds_is_refused() -> None:
    one = enhanced(count=5)
    del one.PerFrameFunctionalGroupsSequence[4]
    error = refused([one])
    assert error.code == "inconsistent"
    assert error.reason == "it states 5 frames but describes 4"


def test_frames_of_two_stacks_at_one_place_are_refused_by_their_numbers() -> None:
    one = enhanced(count=6, shuffled=(0, 1, 2, 0, 1, 2))
    error = refused([one])
    assert error.code == "duplicate"
    assert f"frame 1 of instance {one.SOPInstanceUID}" in error.reason
    assert f"frame 4 of instance {one.SOPInstanceUID}" in error.reason


def test_a_volume_in_several_enhanced_objects_is_put_together() -> None:
    whole = series(count=6, spacing=3.0, orientation=SAGITTAL)
    parts = [as_enhanced(whole[:3], order=(2, 0, 1)), as_enhanced(whole[3:], order=(1, 2, 0))]
    volume = to_volume(parts[::-1])
    assert volume.array.shape == (6, 4, 5)
    assert [one.frame for one in volume.slices] == [2, 3, 1, 3, 1, 2]
    assert [one.sop_instance_uid for one in volume.slices] == [parts[0].SOPInstanceUID] * 3 + [
        parts[1].SOPInstanceUID
    ] * 3
    assert volume.array[:, 0, 0].tolist() == [1000.0 * k for k in range(6)]


def test_a_frame_without_a_position_is_named() -> None:
    one = enhanced(count=5)
    del one.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    error = refused([one])
    assert (error.code, error.subject) == ("missing_position", f"frame 3 of instance {one.SOPInstanceUID}")


def test_two_different_images_at_one_place_are_refused_with_both_names() -> None:
    instances = series(count=5)
    instances[2].ImagePositionPatient = list(instances[1].ImagePositionPatient)
    error = refused(instances)
    assert error.code == "duplicate"
    assert instances[1].SOPInstanceUID in error.reason
    assert instances[2].SOPInstanceUID in error.reason


def test_an_identical_copy_is_left_out_and_said() -> None:
    instances = series(count=5)
    copy = Dataset(instances[2])
    copy.file_meta = instances[2].file_meta
    volume = to_volume([*instances, copy])
    assert volume.array.shape[0] == 5
    assert "is a copy of" in volume.notes[0]


def test_one_slice_is_no_volume() -> None:
    error = refused(series(count=1))
    assert error.code == "one_slice"
    assert str(error).endswith("one slice is no volume. Send the whole series")


def test_three_planes_in_one_series_are_refused() -> None:
    instances = series(count=3) + series(count=3, orientation=SAGITTAL) + series(count=3, orientation=CORONAL)
    for instance in instances:
        instance.SeriesInstanceUID = instances[0].SeriesInstanceUID
        instance.FrameOfReferenceUID = instances[0].FrameOfReferenceUID
    error = refused(instances)
    assert error.code == "mixed_orientation"
    assert instances[3].SOPInstanceUID in error.subject


@pytest.mark.parametrize(("keyword", "value"), [("Columns", 7), ("PixelSpacing", ["0.9", "0.7"])])
def test_one_image_of_another_size_is_refused_by_name(keyword: str, value: object) -> None:
    instances = series(count=4)
    setattr(instances[2], keyword, value)
    error = refused(instances)
    assert error.code == "inconsistent"
    assert instances[2].SOPInstanceUID in error.subject


@pytest.mark.parametrize(
    ("keyword", "code"),
    [
        ("ImagePositionPatient", "missing_position"),
        ("ImageOrientationPatient", "missing_plane"),
        ("PixelSpacing", "missing_plane"),
        ("FrameOfReferenceUID", "inconsistent"),
    ],
)
def test_an_image_without_its_place_is_refused(keyword: str, code: str) -> None:
    instances = series(count=4)
    delattr(instances[1], keyword)
    assert refused(instances).code == code


def test_a_series_without_frame_of_reference_is_refused() -> None:
    instances = series(count=4)
    for instance in instances:
        del instance.FrameOfReferenceUID
    assert refused(instances).code == "missing_frame_of_reference"


def test_images_of_two_series_are_refused() -> None:
    assert refused([*series(count=3), *series(count=3)]).code == "mixed_series"


def test_an_orientation_that_is_no_rotation_is_refused() -> None:
    instances = series(count=3)
    instances[0].ImageOrientationPatient = [1, 0, 0, 0, 0.5, 0]
    assert refused(instances).code == "inconsistent"


def test_a_sheared_stack_is_refused() -> None:
    instances = series(count=6)
    for index, instance in enumerate(instances):
        x, y, z = map(float, instance.ImagePositionPatient)
        instance.ImagePositionPatient = [x, y + index * 0.5, z]
    error = refused(instances)
    assert error.code == "tilted"
    assert "sideways" in error.reason


def test_slices_too_far_apart_are_no_volume() -> None:
    error = refused(series(count=4, spacing=48.0))
    assert error.code == "sparse"
    assert "48.0 mm apart" in error.reason


def test_a_mosaic_is_refused() -> None:
    assert (
        refused(series(count=3, attributes={"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]})).code
        == "mosaic"
    )


def test_an_empty_series_is_refused() -> None:
    with pytest.raises(GeometryError) as error:
        to_volume([])
    assert error.value.code == "one_slice"


def test_an_object_without_pixels_is_refused_by_name() -> None:
    instances = series(count=3)
    del instances[1].PixelData
    with pytest.raises(GeometryError) as error:
        to_volume(instances)
    assert error.value.code == "no_pixels"
    assert instances[1].SOPInstanceUID in error.value.subject


def test_truncated_pixels_are_refused_by_name() -> None:
    instances = series(count=3)
    instances[2].PixelData = instances[2].PixelData[:10]
    with pytest.raises(GeometryError) as error:
        to_volume(instances)
    assert error.value.code == "bad_pixels"
    assert instances[2].SOPInstanceUID in error.value.subject


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_lossless_compressed_slices_give_the_same_values(syntax: str) -> None:
    plain = to_volume(series(count=3, rows=16, columns=16))
    packed = series(count=3, rows=16, columns=16)
    for instance in packed:
        instance.compress(syntax, generate_instance_uid=False)
    assert np.array_equal(to_volume(packed).array, plain.array)


def test_the_error_names_the_file_an_image_came_from() -> None:
    instances = series(count=4)
    instances[2].filename = str(Path("incoming") / "IM0003")
    del instances[2].ImagePositionPatient
    assert "(IM0003)" in refused(instances).subject


def test_invalid_position_text_is_a_missing_position() -> None:
    instances = series(count=3)
    instances[1].ImagePositionPatient = None
    assert refused(instances).code == "missing_position"


def test_the_order_of_arrival_does_not_change_the_volume() -> None:
    instances = series(count=7, orientation=AXIAL)
    one = to_volume(instances)
    other = to_volume(instances[::-1])
    assert np.array_equal(one.array, other.array)
    assert one.slices == other.slices


def test_a_real_jpeg_ls_series_becomes_a_volume(shared_data: Path) -> None:
    files = sorted((shared_data / "dicom" / "head-t1-t2-siemens" / "t2-fse-ax").glob("*.dcm"))
    volume = to_volume([dcmread(file) for file in files])
    assert volume.array.shape[0] == 28
    assert volume.array.max() > 100
    assert any("one step of 7.50 mm" in note for note in volume.notes)


def test_a_real_enhanced_series_becomes_a_volume(shared_data: Path) -> None:
    file = shared_data / "dicom" / "head-enhanced-siemens-xa30" / "t1-mprage-sag-enhanced" / "001.dcm"
    volume = to_volume([dcmread(file)])
    assert volume.array.shape == (96, 128, 128)
    assert volume.spacing_mm == pytest.approx((2.0, 2.0, 2.0), rel=1e-3)
    assert volume.slices[0].frame in (1, 96)


def test_the_real_fruit_is_too_sparse_to_be_a_volume(shared_data: Path) -> None:
    files = (shared_data / "dicom" / "fruit-ge" / "t1-ir-spgr-sag").glob("*.dcm")
    assert refused([dcmread(file) for file in files]).code == "sparse"


def test_errors_survive_a_process_border() -> None:
    import pickle

    error = GeometryError(code="gap", subject="a", reason="b", cure="c")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, str(again)) == ("gap", "a: b. c")
