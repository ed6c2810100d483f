"""A volume in patient space, and its way to and from SimpleITK."""

from __future__ import annotations

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


def resample(
    moving: Image, fixed: Image, transform: sitk.Transform, *, order: int = 3, fill: float = 0.0
) -> Image:
    """`moving` on the grid of `fixed`.

    Args:
        transform: maps points of the fixed space to the moving space (SimpleITK's convention).
        order: 0 nearest, 1 linear, 3 cubic B-spline; cubic results are clipped to the range of `moving`.
    """
    kinds = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}
    out = sitk.Resample(to_sitk(moving), grid_of(fixed), transform, kinds[order], fill, sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(out)
    if order == 3:
        array = np.clip(array, float(moving.array.min()), float(moving.array.max()))
    return Image(array=array, affine=fixed.affine, frame_of_reference=fixed.frame_of_reference)
