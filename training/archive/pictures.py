"""What an excluded series looks like beside the reference: fixed, moving, and both in one."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model import Image

_CELL_INCHES = 2.6
_TILES = 8
"""Fields along each side of the chessboard that shows both images in one."""


def draw_pair(path: Path, *, fixed: Image | None, moving: Image | None, title: str) -> None:
    """Write a PNG: a row per plane, a column each for fixed, moving and their chessboard.

    Both images are on the grid of `fixed`; where only one is there, it is shown alone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = {name: one for name, one in (("fixed", fixed), ("moving", moving)) if one is not None}
    together = fixed is not None and moving is not None and fixed.array.shape == moving.array.shape
    if not columns:
        return
    width = len(columns) + together
    figure = Figure(figsize=(max(_CELL_INCHES * width, 5.2), _CELL_INCHES * 3 + 0.9), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, width, squeeze=False)
    for row in range(3):
        shown = [(name, _middle(one, row), _aspect(one, row)) for name, one in columns.items()]
        if together:
            shown.append(("both", _chessboard(shown[0][1], shown[1][1]), shown[0][2]))
        for column, (name, picture, aspect) in enumerate(shown):
            one = axes[row, column]
            one.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")
            one.set_axis_off()
            if row == 0:
                one.set_title(name, color="white", fontsize=9)
    figure.suptitle("\n".join(textwrap.wrap(title, 34 * width)), color="white", fontsize=8)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, dpi=90, format="png", facecolor="black")
    part.rename(path)


def _middle(image: Image, axis: int) -> npt.NDArray[np.float32]:
    """The middle slice across an array axis, 0..1 by the volume's own percentiles."""
    array = np.nan_to_num(image.array, posinf=0.0, neginf=0.0)
    low, high = (float(v) for v in np.percentile(array[::2, ::4, ::4], (1, 99.5)))
    picture = np.take(array, array.shape[axis] // 2, axis=axis)
    if axis:
        picture = picture[::-1]  # the head upright: slices run upwards
    return np.clip((picture - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _aspect(image: Image, axis: int) -> float:
    """Height of a pixel over its width."""
    column, row, step = image.spacing
    return (row / column, step / column, step / row)[axis]


def _chessboard(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fields of one and the other in turn: edges that break show a shift."""
    rows, columns = np.indices(one.shape)
    high, wide = (max(1, side // _TILES) for side in one.shape)
    even = (rows // high + columns // wide) % 2 == 0
    return np.where(even, one, other).astype(np.float32)
