"""Validation cases as a person looks at them: sources, what was made of them, the truth, and the difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.network import MedK2N
from training.archive import Case
from training.evaluate import predict_case, score

#: An error of this share of the target's bright level is drawn at full colour.
DIFFERENCE = 0.3


def task_of(case: Case, step: int, contrasts: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The sources and the target of one picture: another target each time, of all the others."""
    have = [c for c in contrasts if c in case.contrasts]
    target = have[step % len(have)]
    return tuple(c for c in have if c != target), target


def draw_pictures(
    network: MedK2N, cases: Sequence[Case], sites: Sequence[int], path: Path, turn: int
) -> None:
    """One row a case, its middle slice: the sources, the SYNTHETIC image, the truth, synthetic minus truth.

    Args:
        sites: the cases' site numbers. turn: which of its contrasts each case shows as a target (`task_of`).
    """
    from matplotlib.figure import Figure

    tasks = [task_of(case, turn, network.config.contrasts) for case in cases]
    columns = max(len(sources) for sources, _ in tasks) + 3
    figure = Figure(figsize=(2.2 * columns, 2.7 * len(cases) + 0.4), facecolor="black", layout="constrained")
    axes = figure.subplots(len(cases), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, (case, site, (sources, target)) in enumerate(zip(cases, sites, tasks, strict=True)):
        slices = np.flatnonzero(case.brain.any(axis=(1, 2)))
        images, shown = predict_case(network, case, sources, (target,), max(1, len(slices) // 2), site=site)
        at = min(1, len(shown) - 1)
        z, made = int(shown[at]), images[at, 0]
        truth, mask = case.contrasts[target][z].astype(np.float32), np.asarray(case.brain[z])
        psnr = score(made[None], truth[None], mask[None])
        for k, source in enumerate(sources):
            _show(axes[row, k], case.contrasts[source][z].astype(np.float32), f"{source}")
        _show(axes[row, -3], made, f"{target} SYNTHETIC\n{psnr:.1f} dB in the brain", "orange")
        _show(axes[row, -2], truth, f"{target} acquired")
        axes[row, -1].imshow((made - truth) * mask, cmap="RdBu_r", vmin=-DIFFERENCE, vmax=DIFFERENCE)
        axes[row, -1].set_title(f"difference, ±{DIFFERENCE:.0%}", color="white", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _show(axis: object, image: npt.NDArray[np.float32], title: str, colour: str = "white") -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=1.1)  # type: ignore[attr-defined]
    axis.set_title(title, color=colour, fontsize=8)  # type: ignore[attr-defined]
