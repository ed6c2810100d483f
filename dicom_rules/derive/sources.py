"""Which source slices touched which slice of the result.

A slice is a slab: its rows and columns times its pixel spacing, one slice spacing thick. A source slice
touched a result slice when the slabs overlap in the patient's space; a source that was interpolated reaches
half a spacing further to both sides, because linear interpolation reads both neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_rules.geometry import Frame, SliceRef, Volume, frames_of

Array = npt.NDArray[np.float64]

_FACE_MM = 0.01
"""Slabs that share less than this are neighbours with a common face, not an overlap."""


@dataclass(frozen=True, kw_only=True)
class Slabs:
    """The slices of one source: centres (N, 3) in LPS mm, axes (3, 3) as rows, half extents (3,) in mm.

    The axes are the direction along a row, along a column, and the normal.
    """

    refs: tuple[SliceRef, ...]
    centres: Array
    axes: Array
    half: Array

    def moved(self, matrix: Array) -> Slabs:
        """The same slices after a rigid motion (4x4, LPS mm)."""
        rotation, shift = matrix[:3, :3], matrix[:3, 3]
        return Slabs(
            refs=self.refs,
            centres=self.centres @ rotation.T + shift,
            axes=self.axes @ rotation.T,
            half=self.half,
        )

    def thickened(self, slices: float) -> Slabs:
        """The same slices reaching `slices` spacings further to both sides."""
        half = self.half.copy()
        half[2] *= 1.0 + 2.0 * slices
        return Slabs(refs=self.refs, centres=self.centres, axes=self.axes, half=half)


def slabs_of_volume(volume: Volume) -> Slabs:
    """The slices of a volume in its own order."""
    columns = volume.affine[:3, :3].T
    spacing = np.linalg.norm(columns, axis=1)
    count, rows, cols = volume.array.shape
    middle = volume.affine[:3, 3] + columns[0] * (cols - 1) / 2 + columns[1] * (rows - 1) / 2
    normal = np.cross(columns[0] / spacing[0], columns[1] / spacing[1])
    return Slabs(
        refs=volume.slices,
        centres=middle + np.arange(count)[:, None] * columns[2],
        axes=np.stack([columns[0] / spacing[0], columns[1] / spacing[1], normal]),
        # A tilted stack's step is not along the normal: its slices lie the projection apart.
        half=np.array([cols * spacing[0], rows * spacing[1], abs(float(columns[2] @ normal))]) / 2,
    )


def slabs_of_headers(headers: Sequence[Dataset]) -> Slabs:
    """The slices of a series from its headers, ordered by position and UID; GeometryError without a plane."""
    frames = sorted(frames_of(headers), key=_order)
    first = frames[0]
    along = np.array(sorted({round(float(frame.position @ first.normal), 3) for frame in frames}))
    steps = np.diff(along)
    thickness = float(np.median(steps)) if steps.size else float(first.ref.slice_thickness or 1.0)
    size = np.array([first.columns * first.column_spacing, first.rows * first.row_spacing, thickness])
    return Slabs(
        refs=tuple(frame.ref for frame in frames),
        centres=np.stack([_centre(frame) for frame in frames]),
        axes=np.stack([first.row_direction, first.column_direction, first.normal]),
        half=size / 2,
    )


def _order(frame: Frame) -> tuple[float, str, int]:
    return round(float(frame.position @ frame.normal), 3), frame.ref.sop_instance_uid, frame.ref.frame or 0


def _centre(frame: Frame) -> Array:
    along_row = frame.row_direction * frame.column_spacing * (frame.columns - 1) / 2
    along_column = frame.column_direction * frame.row_spacing * (frame.rows - 1) / 2
    return np.asarray(frame.position + along_row + along_column, dtype=np.float64)


def touching(slab: int, result: Slabs, source: Slabs) -> list[SliceRef]:
    """The slices of `source` that overlap slice `slab` of `result`, by the separating axis theorem.

    Two boxes are apart exactly when they are apart along an axis of one of them or along a cross product of
    two (Gottschalk, Lin and Manocha, OBBTree, SIGGRAPH 1996).
    """
    crosses = np.cross(result.axes[:, None, :], source.axes[None, :, :]).reshape(9, 3)
    lengths = np.linalg.norm(crosses, axis=1)
    crosses = crosses[lengths > 1e-6] / lengths[lengths > 1e-6, None]
    axes = np.concatenate([result.axes, source.axes, crosses])
    reach = np.abs(axes @ result.axes.T) @ result.half + np.abs(axes @ source.axes.T) @ source.half
    apart = np.abs((source.centres - result.centres[slab]) @ axes.T) > reach - _FACE_MM
    return [source.refs[index] for index in np.flatnonzero(~apart.any(axis=1))]
