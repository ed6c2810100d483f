"""The working grid: the reference's slices in a standard pose, in-plane about 1 mm, and the way back.

The network sees every stack in the radiological pose (axial: rows to posterior, columns to the patient's left), so
that a flipped or permuted array is the same picture. The pose is a permutation and flips, hence without loss; only
a pixel size outside `KEEP_MM` costs an interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.imaging.image import Affine, FloatArray, Image, resample_parallel

#: In-plane pixel sizes that are left as they are (training varies the scale over the same range).
KEEP_MM = (0.72, 1.32)
WORK_MM = 1.0
#: Slices further apart than this share too little anatomy for neighbours to help (measured: 1.5 dB lost at 5.5 mm).
THICK_MM = 3.0
#: A volume whose voxels are this close to cubes has no acquisition plane of its own: it is shown in axial slices.
ISOTROPIC_RATIO = 1.7

# The pose of each plane: patient directions (LPS unit vectors) of increasing slice, row and column.
_POSES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
}


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Which array axis goes where: `order[k]` is the old axis of the new axis k, `flip[k]` whether it is reversed."""

    plane: str
    order: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def apply(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The array in the standard pose."""
        out = np.transpose(array, self.order)
        return out[tuple(slice(None, None, -1 if f else 1) for f in self.flip)]

    def undo(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The array back in the pose that `apply` was given."""
        out = array[tuple(slice(None, None, -1 if f else 1) for f in self.flip)]
        return np.transpose(out, np.argsort(self.order))


def _axis_directions(affine: Affine) -> npt.NDArray[np.float64]:
    """Unit LPS direction of array axes (slice, row, column), as rows."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return columns.T[::-1]


def plane_of(image: Image) -> str:
    """The plane that the slices are shown in: that of acquisition, or axial for nearly cubic voxels."""
    spacing = np.array(image.spacing[::-1])
    if spacing.max() / spacing.min() < ISOTROPIC_RATIO:
        return "axial"
    normal = np.abs(_axis_directions(image.affine)[int(spacing.argmax())])
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def pose_of(image: Image, plane: str | None = None) -> Pose:
    """The permutation and flips that bring the array into the standard pose of its plane."""
    plane = plane or plane_of(image)
    directions = _axis_directions(image.affine)
    wanted = np.array(_POSES[plane], dtype=np.float64)
    agreement = wanted @ directions.T  # (new axis, old axis)
    best: tuple[float, tuple[int, int, int]] = (-1.0, (0, 1, 2))
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        score = float(sum(abs(agreement[k, order[k]]) for k in range(3)))
        if score > best[0] + 1e-9:
            best = (score, order)
    order = best[1]
    flip = (
        bool(agreement[0, order[0]] < 0),
        bool(agreement[1, order[1]] < 0),
        bool(agreement[2, order[2]] < 0),
    )
    return Pose(plane=plane, order=order, flip=flip)


def posed(image: Image, pose: Pose) -> Image:
    """The image in the standard pose, with the affine that keeps every voxel at its place in the patient."""
    columns = image.affine[:3, :3][:, ::-1]  # per array axis (slice, row, column)
    origin = image.affine[:3, 3].copy()
    new_columns = np.empty((3, 3))
    for axis, (old, flip) in enumerate(zip(pose.order, pose.flip, strict=True)):
        vector = columns[:, old]
        if flip:
            origin = origin + vector * (image.array.shape[old] - 1)
            vector = -vector
        new_columns[:, axis] = vector
    affine = np.eye(4)
    affine[:3, :3] = new_columns[:, ::-1]
    affine[:3, 3] = origin
    array = np.ascontiguousarray(pose.apply(image.array)).astype(np.float32, copy=False)
    return Image(array=array, affine=affine, frame_of_reference=image.frame_of_reference)


@dataclass(frozen=True, kw_only=True)
class WorkingGrid:
    """The grid on which the network works, and how its results return to the reference's own grid."""

    reference: Image
    pose: Pose
    grid: Image
    resampled: bool

    @property
    def thick(self) -> bool:
        """Whether neighbouring slices are too far apart to serve as context."""
        return self.grid.spacing[2] > THICK_MM

    def back(self, array: FloatArray) -> FloatArray:
        """(S, R, C) values on the working grid -> the same field on the reference's grid, in its array order."""
        if not self.resampled:
            return np.ascontiguousarray(self.pose.undo(array)).astype(np.float32, copy=False)
        native = posed(self.reference, self.pose)
        out = resample_parallel(self.grid.with_array(array), native)
        return np.ascontiguousarray(self.pose.undo(out.array)).astype(np.float32, copy=False)


def working_grid(reference: Image) -> WorkingGrid:
    """The working grid of a reference: its slices as acquired, in the standard pose, in-plane near 1 mm."""
    pose = pose_of(reference)
    native = posed(reference, pose)
    column, row, slice_mm = native.spacing
    isotropic = max(native.spacing) / min(native.spacing) < ISOTROPIC_RATIO
    keep = all(KEEP_MM[0] <= s <= KEEP_MM[1] for s in (column, row))
    # A finely sampled isotropic volume is also thinned along the slice axis, else the work grows for nothing.
    new_slice = WORK_MM if isotropic and slice_mm < KEEP_MM[0] else slice_mm
    if keep and new_slice == slice_mm:
        return WorkingGrid(reference=reference, pose=pose, grid=native, resampled=False)
    new = (
        column if KEEP_MM[0] <= column <= KEEP_MM[1] else WORK_MM,
        row if KEEP_MM[0] <= row <= KEEP_MM[1] else WORK_MM,
        new_slice,
    )
    shape = [
        max(1, round(n * old / s))
        for n, old, s in zip(native.array.shape, (slice_mm, row, column), new[::-1], strict=True)
    ]
    directions = native.affine[:3, :3] / np.array(native.spacing)
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(new)
    # Voxel centres: both grids share the outer edge of the field of view.
    shift = (np.array(new) - np.array(native.spacing)) / 2
    affine[:3, 3] = native.affine[:3, 3] + directions @ shift
    grid = Image(
        array=np.zeros(shape, np.float32), affine=affine, frame_of_reference=reference.frame_of_reference
    )
    work = resample_parallel(native, grid)
    return WorkingGrid(reference=reference, pose=pose, grid=work, resampled=True)
