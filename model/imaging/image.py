"""A volume in patient space, and its way to and from SimpleITK."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from model.errors import ImagingError

FloatArray = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A scalar volume on a regular grid.

    Attributes:
        array: (S, R, C) float32 stored values: slice, row, column.
        affine: 4x4, maps [column, row, slice, 1] to LPS millimetres (PS3.3 C.7.6.2.1.1).
        frame_of_reference: images that share it were acquired in one patient position.
    """

    array: FloatArray
    affine: Affine
    frame_of_reference: str | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or min(self.array.shape) < 1:
            raise ImagingError(
                code="shape",
                subject="image",
                reason=f"needs a volume (slices, rows, columns), has shape {self.array.shape}",
                cure="Give one 3-D series.",
            )
        if self.affine.shape != (4, 4) or abs(np.linalg.det(self.affine[:3, :3])) < 1e-9:
            raise ImagingError(
                code="affine",
                subject="image",
                reason="its affine is not an invertible 4x4 matrix",
                cure="Check the positions and the spacing of the series.",
            )

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(column, row, slice) spacing in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    def same_grid(self, other: Image) -> bool:
        """Whether both lie on one grid, to a hundredth of a millimetre at the far corner."""
        if self.array.shape != other.array.shape:
            return False
        corner = np.array([*self.array.shape[::-1], 1.0])
        return bool(
            np.abs((self.affine - other.affine) @ corner).max() < 1e-2
            and np.abs(self.affine - other.affine)[:3, :3].max() < 1e-3
        )

    def with_array(self, array: FloatArray) -> Image:
        """Other values on the same grid."""
        return replace(self, array=array)


def to_sitk(image: Image) -> sitk.Image:
    """The same volume as a SimpleITK image (LPS, as here)."""
    out = sitk.GetImageFromArray(np.ascontiguousarray(image.array, dtype=np.float32))
    spacing = np.array(image.spacing)
    direction = image.affine[:3, :3] / spacing
    # SimpleITK refuses directions that are not orthonormal; shear below 1e-3 is rounding of decimal strings.
    u, _, vt = np.linalg.svd(direction)
    orthonormal = u @ vt
    if np.abs(orthonormal - direction).max() > 2e-2:
        raise ImagingError(
            code="affine",
            subject="image",
            reason="its axes are not at right angles (sheared or tilted stack)",
            cure="Resample the series to an orthogonal grid first.",
        )
    out.SetSpacing([float(s) for s in spacing])
    out.SetDirection([float(v) for v in orthonormal.ravel()])
    out.SetOrigin([float(v) for v in image.affine[:3, 3]])
    return out


def grid_of(image: Image) -> sitk.Image:
    """An empty SimpleITK image on the same grid, for resampling onto it."""
    return to_sitk(image.with_array(np.zeros(image.array.shape, np.float32)))


@functools.lru_cache(maxsize=64)
def _spline_matrix(
    count: int, spacing: float, origin: float, new_count: int, new_spacing: float
) -> FloatArray:
    """(new_count, count): SimpleITK's cubic B-spline along one axis as a matrix, by interpolating the unit vectors.

    `origin` is where the new axis begins on the old one, in mm; positions outside give zero, as in SimpleITK.
    """
    units = sitk.GetImageFromArray(
        np.eye(count, dtype=np.float64)
    )  # each row holds one unit vector along the axis
    units.SetSpacing([spacing, 1.0])
    lines = sitk.Resample(
        units, [new_count, count], sitk.Transform(2, sitk.sitkIdentity), sitk.sitkBSpline,
        [origin, 0.0], [new_spacing, 1.0], units.GetDirection(), 0.0, sitk.sitkFloat64,
    )  # fmt: skip
    return np.ascontiguousarray(sitk.GetArrayFromImage(lines).T, dtype=np.float32)


def resample_parallel(moving: Image, fixed: Image) -> Image:
    """`moving` on a grid whose axes are parallel to its own, by cubic B-splines, as `resample` with the identity.

    The spline of such grids is a product of three along the axes: three matrix products in place of 64 weights a voxel.
    """
    shift = np.linalg.inv(moving.affine) @ fixed.affine  # index of fixed -> index of moving
    array = moving.array
    for axis in range(3):
        column = 2 - axis  # affine columns are (column, row, slice), array axes the reverse
        spacing = moving.spacing[column]
        matrix = _spline_matrix(
            moving.array.shape[axis],
            spacing,
            round(float(shift[column, 3]) * spacing, 9),
            fixed.array.shape[axis],
            fixed.spacing[column],
        )
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    array = np.clip(array, float(moving.array.min()), float(moving.array.max()))
    array = np.ascontiguousarray(array, dtype=np.float32)
    return Image(array=array, affine=fixed.affine, frame_of_reference=fixed.frame_of_reference)


def resample(
    moving: Image, fixed: Image, transform: sitk.Transform, *, order: int = 3, fill: float = 0.0
) -> Image:
    """`moving` on the grid of `fixed`.

    Args:
        transform: maps points of the fixed space to the moving space (SimpleITK's convention).
        order: 0 nearest, 1 linear, 3 cubic B-spline; cubic results are clipped to the range of `moving`.

    Where every voxel of the grid is a voxel of an image that is not moved, in any order of the axes, its values stay as
    they are to the bit: a spline would leave traces where a publisher's mask left zeros, and what was masked could not
    be told any more.
    """
    exact = _same_voxels(moving, fixed) if _still(transform) else None
    if exact is not None:
        return Image(array=exact, affine=fixed.affine, frame_of_reference=fixed.frame_of_reference)
    kinds = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}
    out = sitk.Resample(to_sitk(moving), grid_of(fixed), transform, kinds[order], fill, sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(out)
    if order == 3:
        array = np.clip(array, float(moving.array.min()), float(moving.array.max()))
    return Image(array=array, affine=fixed.affine, frame_of_reference=fixed.frame_of_reference)


def _still(transform: sitk.Transform) -> bool:
    """Whether a rigid transform moves no point: not the origin, and not the ends of the axes."""
    points = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    return all(transform.TransformPoint(point) == point for point in points)


def _same_voxels(moving: Image, fixed: Image) -> FloatArray | None:
    """The values of `moving` at the voxels of `fixed`, None where one of these is not a voxel of `moving`."""
    shift = np.linalg.inv(moving.affine) @ fixed.affine  # index of fixed -> index of moving
    turn, offset = np.rint(shift[:3, :3]).astype(int), np.rint(shift[:3, 3]).astype(int)
    if not np.allclose(shift[:3, :3], turn, atol=1e-5) or not np.allclose(shift[:3, 3], offset, atol=1e-3):
        return None
    if (np.abs(turn).sum(axis=0) != 1).any() or (np.abs(turn).sum(axis=1) != 1).any():
        return None
    source = np.abs(turn).argmax(axis=1)  # which index of fixed runs along each index of moving
    places = []
    for axis in range(3):
        place = turn[axis, source[axis]] * np.arange(fixed.array.shape[2 - source[axis]]) + offset[axis]
        if place.min() < 0 or place.max() >= moving.array.shape[2 - axis]:
            return None
        places.append(place)
    # Indices run (column, row, slice), arrays the other way round.
    taken = moving.array[np.ix_(*places[::-1])]
    return np.ascontiguousarray(
        taken.transpose([2 - int(np.flatnonzero(source == 2 - k)[0]) for k in range(3)])
    )
