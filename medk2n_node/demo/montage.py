"""One picture of the whole: sources, synthetic, truth where it is known, and the difference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_rules.geometry import Volume

Floats = npt.NDArray[np.float32]

_ROWS = 5
_CELL_INCHES = 2.3


def on_grid(source: Volume, grid: Volume, slices: npt.NDArray[np.intp]) -> Floats:
    """Slices of `grid` (indices) as `source` shows them, through the patient's coordinates; (N, R, C)."""
    if np.allclose(source.affine, grid.affine, atol=1e-3) and source.array.shape == grid.array.shape:
        return source.array[slices]
    from scipy import ndimage

    _, rows, columns = grid.array.shape
    s, r, c = np.meshgrid(slices, np.arange(rows), np.arange(columns), indexing="ij")
    points = np.stack([c, r, s, np.ones_like(c)]).reshape(4, -1).astype(np.float64)
    voxels = (np.linalg.inv(source.affine) @ grid.affine @ points)[:3]
    seen = ndimage.map_coordinates(source.array, voxels[::-1], order=1, mode="constant", cval=0.0)
    return np.asarray(seen.reshape(len(slices), rows, columns), dtype=np.float32)


def _chosen(image: Floats) -> npt.NDArray[np.intp]:
    """Slices spread over the middle of what is not air."""
    filled = (image > 0.15 * np.percentile(image, 99.5)).mean(axis=(1, 2))
    inside = np.flatnonzero(filled > 0.4 * filled.max())
    places = np.linspace(inside[0], inside[-1], _ROWS + 2)[1:-1]
    return np.unique(np.rint(places).astype(np.intp))


def _top(image: Floats) -> float:
    seen = image[image > 0]
    return float(np.percentile(seen, 99.5)) if seen.size else 1.0


def draw(
    path: Path,
    *,
    target: str,
    sources: Mapping[str, Volume],
    synthetic: Volume,
    scale: float,
    truth: Floats | None = None,
    brain: npt.NDArray[np.bool_] | None = None,
    caption: str = "",
) -> None:
    """Write a PNG: a row per slice, a column per source, then synthetic, truth and difference.

    Everything is shown on the synthetic volume's grid. `truth` is scaled so that 1 is its 99.5th percentile.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    slices = _chosen(synthetic.array)
    made = synthetic.array[slices] / scale
    columns: list[tuple[str, Floats, dict[str, Any]]] = []
    for contrast, volume in sources.items():
        image = on_grid(volume, synthetic, slices)
        columns.append((f"{contrast} (source)", image, {"vmin": 0.0, "vmax": _top(image)}))
    columns.append((f"{target} (synthetic)", made, {"vmin": 0.0, "vmax": 1.1}))
    if truth is not None:
        shown = truth[slices]
        difference = made - shown
        if brain is not None:
            difference = np.where(brain[slices], difference, 0.0)
        columns.append((f"{target} (truth)", shown, {"vmin": 0.0, "vmax": 1.1}))
        columns.append(("synthetic - truth", difference, {"vmin": -0.5, "vmax": 0.5, "cmap": "berlin"}))

    step = np.linalg.norm(synthetic.affine[:3, :2], axis=0)
    aspect = float(step[1] / step[0])
    tall = synthetic.array.shape[1] * aspect / synthetic.array.shape[2]
    figure = Figure(
        figsize=(_CELL_INCHES * len(columns), _CELL_INCHES * tall * len(slices) + 0.8), facecolor="black"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(slices), len(columns), squeeze=False)
    for row, index in enumerate(slices):
        for column, (title, images, style) in enumerate(columns):
            cell = axes[row][column]
            cell.imshow(images[row], aspect=aspect, **{"cmap": "gray", "interpolation": "nearest", **style})
            cell.set_axis_off()
            if row == 0:
                cell.set_title(title, color="white", fontsize=11)
            if column == 0:
                _write(cell, 0.03, 0.03, f"slice {index + 1}", color="white")
            if "(synthetic)" in title:
                _write(cell, 0.5, 0.93, "SYNTHETIC", color="yellow", ha="center", weight="bold")
    footer = "Made by a network, not acquired by a scanner. Not for clinical use."
    figure.text(0.5, 0.012, f"{caption}   {footer}".strip(), color="white", fontsize=9, ha="center")
    tall_inches = figure.get_figheight()
    figure.subplots_adjust(
        left=0.005,
        right=0.995,
        top=1.0 - 0.35 / tall_inches,
        bottom=0.45 / tall_inches,
        wspace=0.02,
        hspace=0.02,
    )
    figure.savefig(path, dpi=110, facecolor="black")


def _write(cell: Any, x: float, y: float, words: str, **style: Any) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2, foreground="black")]  # readable on bright tissue too
    cell.text(x, y, words, transform=cell.transAxes, fontsize=9, va="center", path_effects=outline, **style)
