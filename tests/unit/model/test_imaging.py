"""Grid, registration, mask and normalisation, each with its way back."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from model import Image, ImagingError
from model.imaging import brain_mask, normalise, register, resample, restore, working_grid
from model.imaging.grid import pose_of, posed


def _affine(
    spacing: tuple[float, float, float], order: tuple[int, int, int], signs: tuple[int, int, int]
) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[axis, column] = sign * spacing[column]
    affine[:3, 3] = (-80.0, -100.0, -60.0)
    return affine


orders = st.permutations([0, 1, 2]).map(tuple)
signs = st.tuples(*[st.sampled_from([-1, 1])] * 3)
spacings = st.tuples(
    st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from([1.0, 3.0, 5.5])
)


@given(orders, signs, spacings)
@settings(max_examples=60, deadline=None)
def test_every_voxel_keeps_its_place_in_the_patient(order: tuple, sign: tuple, spacing: tuple) -> None:
    image = Image(
        array=np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6), affine=_affine(spacing, order, sign)
    )
    pose = pose_of(image)
    new = posed(image, pose)
    for value in (0.0, 37.0, 119.0):
        s, r, c = np.argwhere(image.array == value)[0]
        s2, r2, c2 = np.argwhere(new.array == value)[0]
        assert np.allclose(image.affine @ [c, r, s, 1], new.affine @ [c2, r2, s2, 1], atol=1e-9)
    assert np.array_equal(pose.undo(new.array), image.array)


@given(orders, signs)
@settings(max_examples=24, deadline=None)
def test_slices_are_shown_with_anterior_up_and_left_right(order: tuple, sign: tuple) -> None:
    image = Image(array=np.zeros((6, 6, 6), np.float32), affine=_affine((1.0, 1.0, 1.0), order, sign))
    directions = posed(image, pose_of(image)).affine[:3, :3]
    assert np.allclose(directions, np.eye(3))


def test_pixels_near_one_millimetre_are_not_interpolated() -> None:
    image = Image(
        array=np.random.default_rng(0).random((5, 40, 44), np.float32),
        affine=_affine((0.9, 0.9, 5.5), (0, 1, 2), (1, 1, 1)),
    )
    grid = working_grid(image)
    assert not grid.resampled and grid.thick
    assert np.array_equal(grid.back(grid.grid.array), image.array)


def test_fine_pixels_become_one_millimetre_and_return_smoothly() -> None:
    y, x = np.mgrid[0:120, 0:100] * 0.5
    plane = np.sin(x / 9) + np.cos(y / 11) + 3
    image = Image(
        array=np.stack([plane] * 4).astype(np.float32), affine=_affine((0.5, 0.5, 4.0), (0, 1, 2), (1, 1, 1))
    )
    grid = working_grid(image)
    assert grid.resampled and grid.grid.array.shape == (4, 60, 50)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert np.abs(grid.back(grid.grid.array)[inner] - image.array[inner]).max() < 0.01


def _blob_head(seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[0:36, 0:90, 0:80].astype(np.float32)
    head = ((z - 18) / 17) ** 2 + ((y - 45) / 40) ** 2 + ((x - 40) / 34) ** 2
    array = np.where(head < 1, 400.0, 0.0)
    for _ in range(14):
        c = rng.uniform([8, 20, 20], [28, 70, 60])
        blob = np.exp(-(((z - c[0]) / 4) ** 2 + ((y - c[1]) / 7) ** 2 + ((x - c[2]) / 6) ** 2))
        array += blob * rng.uniform(-300, 500) * (head < 1)
    array += rng.normal(0, 8, array.shape) * (head < 1)
    return Image(array=array.astype(np.float32), affine=_affine((2.0, 2.0, 4.0), (0, 1, 2), (1, 1, 1)))


def _moved(image: Image, degrees: float, shift: tuple[float, float, float]) -> Image:
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(v) for v in (image.affine @ [40, 45, 18, 1])[:3]])
    transform.SetRotation(0, 0, float(np.radians(degrees)))
    transform.SetTranslation(shift)
    return resample(image, image, transform, order=1)


def test_a_moved_head_of_another_contrast_is_brought_back() -> None:
    fixed = _blob_head()
    inverted = fixed.with_array(np.where(fixed.array > 5, 1200 - fixed.array, 0).astype(np.float32))
    moving = _moved(inverted, 6.0, (9.0, -7.0, 4.0))
    result = register(moving, fixed, fixed.array > 100)
    assert result.accepted, result.sentence
    back = resample(moving, fixed, result.transform)
    inside = np.zeros(fixed.array.shape, bool)
    inside[8:-8, 25:-25, 25:-25] = True
    assert np.corrcoef(back.array[inside], inverted.array[inside])[0, 1] > 0.97
    assert result.translation_mm > 5 and "Registered rigidly" in result.sentence


def test_threads_that_add_in_another_order_change_no_voxel() -> None:
    fixed = _blob_head()
    moving = _moved(fixed, 6.0, (9.0, -7.0, 4.0))
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for count in (1, 2, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            found.append(register(moving, fixed, fixed.array > 100).transform.GetParameters())
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert found[0] == found[1] == found[2]


def test_an_image_in_place_is_not_moved() -> None:
    fixed = _blob_head()
    result = register(
        fixed.with_array(np.sqrt(np.maximum(fixed.array, 0))), fixed, fixed.array > 100, fixed_in_place=True
    )
    assert result.accepted and result.translation_mm == 0.0
    assert "not moved" in result.sentence


def test_another_head_that_shares_nothing_is_not_accepted() -> None:
    fixed = _blob_head()
    noise = np.random.default_rng(5).normal(500, 100, fixed.array.shape).astype(np.float32)
    result = register(fixed.with_array(noise), fixed, fixed.array > 100)
    assert not result.accepted
    assert "too little information" in result.sentence


def test_a_field_of_view_that_misses_the_brain_is_not_accepted() -> None:
    fixed = _blob_head()
    part = Image(
        array=fixed.array[26:].copy(),
        affine=fixed.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 26], [0, 0, 0, 1.0]]),
    )
    result = register(part, fixed, fixed.array > 100)
    assert not result.accepted
    assert "field of view" in result.sentence or "starts ended" in result.sentence


@given(st.floats(0.01, 5000), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_normalisation_has_an_inverse(scale: float, seed: int) -> None:
    array = (np.random.default_rng(seed).random((3, 20, 20), np.float32) * np.float32(scale)).astype(
        np.float32
    )
    mask = np.ones(array.shape, bool)
    values, record = normalise(array, mask, "T2", subject="T2")
    assert np.isclose(np.percentile(values[mask], 99.5), 1.0, atol=1e-3)
    assert np.allclose(restore(values, record), array, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6])
def test_adc_keeps_its_physical_unit_whatever_the_vendor_stored(unit: float) -> None:
    array = np.full((2, 4, 4), 800.0 * unit, np.float32)
    array[0, 0, 0] = 3000.0 * unit
    values, _ = normalise(array, np.ones(array.shape, bool), "ADC", subject="ADC")
    assert values[1, 1, 1] == pytest.approx(800 / 3000, rel=1e-4)


def test_a_blank_series_is_named() -> None:
    blank = Image(array=np.zeros((4, 20, 20), np.float32), affine=np.eye(4))
    with pytest.raises(ImagingError, match="the T1 series: all pixels have the same value") as caught:
        brain_mask(blank, subject="the T1 series")
    assert caught.value.code == "blank"


def test_a_fruit_is_not_a_brain() -> None:
    z, y, x = np.mgrid[0:40, 0:64, 0:64]
    fruit = (((z - 20) / 18) ** 2 + ((y - 32) / 18) ** 2 + ((x - 32) / 18) ** 2 < 1) * 500.0
    with pytest.raises(ImagingError, match="no brain was found") as caught:
        brain_mask(Image(array=fruit.astype(np.float32), affine=np.eye(4)), subject="T1")
    assert caught.value.code == "not_a_brain"
