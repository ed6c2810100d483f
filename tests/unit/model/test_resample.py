"""The fast ways of the imaging give what the plain ones give: splines by axis, holes in one call, the coarse mask."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from model import Image
from model.imaging import brain_mask, resample
from model.imaging.grid import pose_of, posed, working_grid
from model.imaging.image import grid_of, resample_parallel, to_sitk
from model.synthesis import _filled


def volume(shape: tuple[int, int, int], spacing: tuple[float, float, float], turn_deg: float) -> Image:
    """Smooth noise on a grid that is turned about the first axis."""
    random = np.random.default_rng(3)
    coarse = random.random(tuple(max(3, n // 6) for n in shape)).astype(np.float32)
    image = sitk.Expand(sitk.GetImageFromArray(coarse), [6, 6, 6], sitk.sitkLinear)
    array = np.zeros(shape, np.float32)
    part = sitk.GetArrayFromImage(image)[: shape[0], : shape[1], : shape[2]]
    array[: part.shape[0], : part.shape[1], : part.shape[2]] = 900 * part
    angle = np.radians(turn_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = (-31.0, 12.5, 7.0)
    return Image(array=array, affine=affine)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((8, 70, 61), (0.45, 0.45, 5.1)), ((40, 60, 50), (0.5, 0.5, 0.5)), ((9, 40, 33), (1.6, 1.5, 4.0))],
)
def test_splines_along_the_axes_are_the_splines_of_simpleitk(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    image = volume(shape, spacing, turn_deg=13)
    grid = working_grid(image)
    assert grid.resampled
    native = posed(image, pose_of(image))
    there = resample(native, grid.grid, sitk.Transform(), order=3).array
    assert np.abs(grid.grid.array - there).max() < 1e-5 * float(native.array.max())
    back = resample(grid.grid, native, sitk.Transform(), order=3).array
    ours = resample_parallel(grid.grid, native).array
    assert np.abs(ours - back).max() < 1e-5 * float(native.array.max())


def test_holes_are_filled_slice_by_slice_as_simpleitk_does() -> None:
    mask = np.random.default_rng(1).random((5, 60, 50)) > 0.42
    expected = np.stack(
        [
            sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(one.astype(np.uint8))))
            for one in mask
        ]
    ).astype(bool)
    assert np.array_equal(_filled(mask), expected)
    assert _filled(np.ones((2, 4, 4), bool)).all()
    assert not _filled(np.zeros((2, 4, 4), bool)).any()


@pytest.mark.slow
def test_the_coarse_mask_overlaps_the_whole_method_s_and_a_stripped_image_is_its_own_mask() -> None:
    from medk2n_node.demo.maps import head
    from medk2n_node.demo.phantom import axial_grid, motion, scan

    grid = axial_grid(slices=20, spacing_mm=6.0)
    still = motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0)
    array = scan(head(), "T1", grid, still, seed=1).astype(np.float32)
    image = Image(array=array, affine=grid.affine)
    fine, coarse = brain_mask(image, subject="T1"), brain_mask(image, subject="T1", coarse=True)
    assert coarse.coarse and not fine.coarse
    overlap = 2 * (fine.mask & coarse.mask).sum() / (fine.mask.sum() + coarse.mask.sum())
    assert overlap > 0.93
    stripped = brain_mask(image.with_array(array * fine.mask), subject="T1", coarse=True)
    assert stripped.stripped and not stripped.coarse
    assert (stripped.mask & ~fine.mask).sum() < 0.01 * fine.mask.sum()


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_an_image_that_is_not_moved_keeps_its_values_to_the_bit_in_any_order_of_the_axes(plane: str) -> None:
    image = volume((12, 18, 24), (1.0, 1.5, 2.0), 0.0)
    image.array[:, :6] = 0.0  # what a publisher masked
    other = posed(image, pose_of(image, plane))
    still, moved = sitk.Transform(3, sitk.sitkIdentity), sitk.Euler3DTransform()
    moved.SetTranslation((0.3, 0.0, 0.0))
    assert np.array_equal(resample(image, other, still).array, other.array)
    assert np.array_equal(resample(other, image, still, order=0).array, image.array)
    traces = resample(image, other, moved).array
    assert (traces != 0).sum() > (image.array != 0).sum(), "a spline leaves traces"
    spline = sitk.Resample(to_sitk(image), grid_of(other), still, sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    assert np.allclose(sitk.GetArrayFromImage(spline), other.array, atol=1e-4)
