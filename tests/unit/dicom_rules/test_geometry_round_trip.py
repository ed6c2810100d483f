"""Positions come back within 1e-3 mm, whatever the orientation, spacing and order of the slices."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dicom_rules.errors import GeometryError
from dicom_rules.geometry import Volume, check, to_volume
from tests.enhanced import as_enhanced
from tests.unit.dicom_rules.slices import AXIAL, CORONAL, SAGITTAL, enhanced, plane, series

PATIENT_POSITIONS = {  # image axes as the scanner writes them for an axial stack of each position
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFDR": (0, 1, 0, 1, 0, 0),
    "FFDL": (0, -1, 0, -1, 0, 0),
}


def agrees(volume: Volume) -> None:
    """Every slice lies where its decimal strings say, and slices ascend along the normal."""
    cosines = np.array([float(one) for one in volume.slices[0].image_orientation])
    normal = np.cross(cosines[:3], cosines[3:])
    along = []
    for index, one in enumerate(volume.slices):
        stated = np.array([float(part) for part in one.image_position])
        assert np.abs((volume.affine @ [0, 0, index, 1])[:3] - stated).max() < 1e-3
        along.append(stated @ normal)
    assert (np.diff(along) > 0).all()


@settings(max_examples=60, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01),
    spacing=st.floats(0.4, 10),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    count=st.integers(2, 12),
    seed=st.integers(0, 1000),
)
def test_any_oblique_stack_round_trips(
    quaternion: tuple[float, ...], spacing: float, origin: tuple[float, ...], count: int, seed: int
) -> None:
    turned = Rotation.from_quat(quaternion).as_matrix()
    orientation = (*turned[:, 0], *turned[:, 1])
    instances = series(count=count, spacing=spacing, orientation=orientation, origin=origin)
    np.random.default_rng(seed).shuffle(instances)  # type: ignore[arg-type]
    check(instances)
    volume = to_volume(instances)
    agrees(volume)
    assert volume.spacing_mm == pytest.approx((0.8, 0.9, spacing), abs=2e-3)
    assert np.array_equal(volume.array[0], plane(0))
    assert np.array_equal(volume.array[-1], plane(count - 1))


@settings(max_examples=40, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01),
    spacing=st.floats(0.5, 7),
    missing=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_a_missing_slice_of_any_oblique_stack_is_named_by_its_place(
    quaternion: tuple[float, ...], spacing: float, missing: int, seed: int
) -> None:
    turned = Rotation.from_quat(quaternion).as_matrix()
    instances = series(count=9, spacing=spacing, orientation=(*turned[:, 0], *turned[:, 1]))
    lost = instances.pop(missing)
    np.random.default_rng(seed).shuffle(instances)  # type: ignore[arg-type]
    with pytest.raises(GeometryError) as error:
        check(instances)
    assert error.value.code == "gap"
    named = np.array([float(one) for one in re.findall(r"-?\d+\.\d\d", error.value.subject)])
    assert np.abs(named - np.array(lost.ImagePositionPatient, dtype=float)).max() < 0.02


@settings(max_examples=30, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01),
    order=st.permutations(range(5)),
    form=st.sampled_from(["classic", "enhanced"]),
)
def test_a_voxel_lies_where_the_standard_puts_it_in_any_orientation(
    quaternion: tuple[float, ...], order: list[int], form: str
) -> None:
    turned = Rotation.from_quat(quaternion).as_matrix()
    classic = series(count=5, spacing=2.5, orientation=(*turned[:, 0], *turned[:, 1]))
    volume = to_volume([as_enhanced(classic, order=order)] if form == "enhanced" else classic)
    for index, one in enumerate(classic):
        row, column = np.array(one.ImageOrientationPatient, dtype=float).reshape(2, 3)
        place = np.array(one.ImagePositionPatient, dtype=float) + row * 0.8 * 4 + column * 0.9 * 3
        assert np.abs((volume.affine @ [4, 3, index, 1])[:3] - place).max() < 1e-3
        assert volume.array[index, 3, 4] == index * 1000 + 34


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL])
def test_the_three_planes_round_trip(orientation: tuple[float, ...]) -> None:
    volume = to_volume(series(count=9, spacing=1.2, orientation=orientation))
    agrees(volume)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_every_patient_position_round_trips(position: str) -> None:
    volume = to_volume(series(count=5, orientation=PATIENT_POSITIONS[position]))
    agrees(volume)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)))
def test_enhanced_frames_in_any_order_round_trip(order: list[int]) -> None:
    volume = to_volume([enhanced(count=6, shuffled=order)])
    agrees(volume)
    # The frame number of a slice points back at the frame that holds its pixels.
    for index, one in enumerate(volume.slices):
        assert one.frame is not None
        held = order[one.frame - 1]
        assert np.array_equal(volume.array[index], plane(held) * 2.0 + held)
