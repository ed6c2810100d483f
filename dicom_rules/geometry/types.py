"""A volume in the patient's coordinates and the slices it was read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class SliceRef:
    """Where one slice of a volume came from, with its geometry as decimal strings.

    `frame` is the 1-based frame number of a multi-frame object, None for a single-frame one. The strings are
    those received (classic objects), or the shortest that round-trip and fit a DS (multi-frame objects).
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    image_position: tuple[str, str, str]
    image_orientation: tuple[str, ...]
    pixel_spacing: tuple[str, str]
    slice_thickness: str | None


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One series as an array on a regular grid.

    `array` is (S, R, C) float32 with the modality rescale applied where the object has one; `affine` is 4x4
    float64 and maps [column, row, slice, 1] to patient coordinates in mm (DICOM LPS); `slices` are in the
    order of s, ascending along the normal (row direction x column direction). `notes` are sentences worth
    showing.
    """

    array: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    slices: tuple[SliceRef, ...]
    frame_of_reference_uid: str
    series_uid: str
    notes: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along a row (column step), a column (row step) and the slices."""
        lengths: npt.NDArray[Any] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])
