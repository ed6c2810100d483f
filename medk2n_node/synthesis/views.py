"""Slices of one volume as they lie in another, for pictures that a person compares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dicom_rules.geometry import Volume

Floats = npt.NDArray[np.float32]


def on_grid(
    source: Volume,
    grid: Volume,
    slices: npt.NDArray[np.intp],
    moved: npt.NDArray[np.float64] | None = None,
) -> Floats:
    """Slices of `grid` (indices) as `source` shows them, through the patient's coordinates; (N, R, C).

    `moved` is the 4x4 matrix from the source's patient coordinates to the grid's, where the source was registered.
    """
    to_grid = source.affine if moved is None else moved @ source.affine
    if np.allclose(to_grid, grid.affine, atol=1e-3) and source.array.shape == grid.array.shape:
        return source.array[slices]
    from scipy import ndimage

    _, rows, columns = grid.array.shape
    s, r, c = np.meshgrid(slices, np.arange(rows), np.arange(columns), indexing="ij")
    points = np.stack([c, r, s, np.ones_like(c)]).reshape(4, -1).astype(np.float64)
    voxels = (np.linalg.inv(to_grid) @ grid.affine @ points)[:3]
    seen = ndimage.map_coordinates(source.array, voxels[::-1], order=1, mode="constant", cval=0.0)
    return np.asarray(seen.reshape(len(slices), rows, columns), dtype=np.float32)


def telling_slices(image: Floats, count: int) -> npt.NDArray[np.intp]:
    """Up to `count` slices spread over the middle of what is not air."""
    top = float(np.percentile(image, 99.5))
    filled = (image > 0.15 * top).mean(axis=(1, 2))
    inside = np.flatnonzero(filled > 0.4 * filled.max())
    if inside.size == 0:  # nothing but air: any slice tells as much
        inside = np.arange(image.shape[0])
    places = np.linspace(inside[0], inside[-1], count + 2)[1:-1]
    return np.unique(np.rint(places).astype(np.intp))


def white_level(image: Floats) -> float:
    """The value to show as white: the 99.5th percentile of what is not zero."""
    seen = image[image > 0]
    return float(np.percentile(seen, 99.5)) if seen.size else 1.0
