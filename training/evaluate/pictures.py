"""Pictures inside the page of an evaluation: PNG as data URIs, so that the page is one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.evaluate.evaluation import Evaluation, Picture

#: Error at which the difference picture is full red or blue, in units of the 99.5th percentile.
FULL_ERROR = 0.5
INK = "#1d2733"


def _uri(figure: Figure, dpi: int) -> str:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    # No date and no software version: the same evaluation gives the same bytes.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _crop(mask: npt.NDArray[np.bool_], margin: int = 8) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin),
    )


def triptych(picture: Picture) -> str:
    """The sources, the synthetic slice, the true one and their difference inside the brain, side by side."""
    box = _crop(picture.brain)
    target = picture.row.target
    panels: list[tuple[str, npt.NDArray[np.float32]]] = [
        (f"{c} (scanned)", v) for c, v in picture.sources.items()
    ]
    panels += [(f"{target} SYNTHETIC", picture.synthetic), (f"{target} (scanned)", picture.truth)]
    count = len(panels) + 1
    height, width = (s.stop - s.start for s in box)
    figure = Figure(
        figsize=(1.9 * count, 1.9 * height / width + 0.35), layout="constrained", facecolor="white"
    )
    axes = np.atleast_1d(figure.subplots(1, count))
    for axis, (title, image) in zip(axes, panels, strict=False):
        axis.imshow(image[box], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        synthetic = title.endswith("SYNTHETIC")
        axis.set_title(
            title, fontsize=8, color="#b3261e" if synthetic else INK, weight="bold" if synthetic else None
        )
        if synthetic:
            axis.text(
                0.03, 0.03, "SYNTHETIC", color="#ffd34d", fontsize=8, weight="bold", transform=axis.transAxes
            )
    difference = (picture.synthetic - picture.truth) * picture.brain
    shown = axes[-1].imshow(difference[box], cmap="RdBu_r", vmin=-FULL_ERROR, vmax=FULL_ERROR)
    axes[-1].set_title("synthetic - scanned", fontsize=8, color=INK)
    bar = figure.colorbar(shown, ax=axes[-1], shrink=0.75, pad=0.02)
    bar.ax.tick_params(labelsize=6)
    for axis in axes:
        axis.set_axis_off()
    return _uri(figure, 95)


def bars(evaluation: Evaluation) -> str:
    """Mean PSNR of every method in both readings over the rows that all made, with the interval over patients."""
    methods: Sequence[str] = evaluation.methods
    figure = Figure(figsize=(8.4, 0.55 * len(methods) + 1.0), layout="constrained", facecolor="white")
    axis = figure.subplots()
    low = []
    for shift, (reading, colour, label) in enumerate(
        (("raw", "#2f5d8a", "as it comes"), ("fit", "#a9c4dd", "after the best linear fit"))
    ):
        for place, method in enumerate(methods):
            value = evaluation.estimate(evaluation.shared(method), reading)
            if value is None:
                continue
            at = place + 0.38 * (shift - 0.5)
            axis.barh(at, value.mean, 0.36, color=colour, label=label if place == 0 else None)
            if value.low is not None and value.high is not None:
                axis.plot([value.low, value.high], [at, at], color=INK, linewidth=1.2)
            end = value.mean if value.high is None else value.high
            axis.text(end, at, f" {value.mean:.2f}", va="center", fontsize=8, color=INK)
            low.append(value.mean if value.low is None else value.low)
    axis.set_yticks(range(len(methods)), methods, fontsize=9)
    axis.invert_yaxis()
    axis.set_xlim(left=max(0.0, min(low) - 2.0))
    axis.set_xlabel("PSNR inside the brain, dB (the axis does not begin at zero)", fontsize=8)
    figure.legend(
        *axis.get_legend_handles_labels(), fontsize=8, loc="outside upper right", ncols=2, frameon=False
    )
    axis.spines[["top", "right"]].set_visible(False)
    return _uri(figure, 110)
