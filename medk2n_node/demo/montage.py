"""One picture of the whole: sources, synthetic, truth where it is known, and the difference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_rules.geometry import Volume
from medk2n_node.synthesis.views import Floats, on_grid, telling_slices, white_level

_ROWS = 5
_CELL_INCHES = 2.3


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

    slices = telling_slices(synthetic.array, _ROWS)
    made = synthetic.array[slices] / scale
    columns: list[tuple[str, Floats, dict[str, Any]]] = []
    for contrast, volume in sources.items():
        image = on_grid(volume, synthetic, slices)
        columns.append((f"{contrast} (source)", image, {"vmin": 0.0, "vmax": white_level(image)}))
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
