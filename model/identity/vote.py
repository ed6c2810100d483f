"""What the tower says of a whole volume: of a synthetic one (its identity score) and of an acquired one (a vote)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.errors import ImagingError
from model.identity.tower import BACKGROUND, Identity
from model.imaging.grid import WORK_MM, pose_of, posed
from model.imaging.image import FloatArray, Image

#: Slices looked at: more of one volume tell little that these do not.
SLICES = 24
#: A slice takes part if it holds this share of the largest slice's brain or head.
SUBSTANTIAL = 0.4


def _answer(identity: Identity, slices: Tensor, device: str) -> dict[str, float]:
    """(S, 1, H, W) -> probabilities: the slices' geometric mean, for they are not independent witnesses."""
    identity = identity.to(device)
    with torch.inference_mode():
        log = F.log_softmax(identity.logits(slices.to(device)), dim=1).mean(dim=0)
        p = log.softmax(dim=0).cpu()
    return {name: float(v) for name, v in zip(identity.contrasts, p, strict=True)}


def _choose(area: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """At most `SLICES` indices, evenly spread over the substantial slices."""
    fit = np.flatnonzero(area >= SUBSTANTIAL * area.max())
    return fit[np.unique(np.linspace(0, len(fit) - 1, min(SLICES, len(fit))).round().astype(int))]


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a (S, R, C) mask."""
    rows, columns = np.flatnonzero(mask.any(axis=(0, 2))), np.flatnonzero(mask.any(axis=(0, 1)))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def identity_probabilities(
    identity: Identity, array: FloatArray, brain: npt.NDArray[np.bool_], device: str = "cpu"
) -> dict[str, float]:
    """Contrast -> probability that a synthetic volume is that contrast; the target's own is its identity score.

    Args:
        array: (S, R, C) values of any scale, in the standard pose; pixels near 1 mm.
        brain: (S, R, C) where to look.

    Raises:
        ImagingError: blank: no brain, or nothing but zeros and worse in it.
    """
    if not brain.any() or not np.isfinite(array[brain]).all() or float(array[brain].max()) <= 0:
        raise ImagingError(
            code="blank",
            subject="synthetic image",
            reason="it holds no image inside the brain",
            cure="Look at its sources; do not use it.",
        )
    chosen = _choose(brain.sum(axis=(1, 2)).astype(np.float64))
    rows, columns = _box(brain)
    cut = (array * brain)[chosen][:, rows, columns].astype(np.float32)
    return _answer(identity, torch.from_numpy(cut)[:, None], device)


def vote(image: Image, identity: Identity) -> dict[str, float]:
    """Contrast -> probability of an acquired series, from its pixels alone: a second opinion on its headers.

    It knows nothing but the contrasts it was trained on, so a localizer or an angiogram gets an answer as well: ask
    only about series that the headers hold to be structural or diffusion images of a head.

    Raises:
        ImagingError: blank: no pixel stands out from the others.
    """
    stack = posed(image, pose_of(image))
    values = np.maximum(np.nan_to_num(stack.array, nan=0.0, posinf=0.0, neginf=0.0), 0)
    bright = float(np.percentile(values, 99))
    head = values > BACKGROUND * bright
    if bright <= 0 or head.all():
        raise ImagingError(
            code="blank",
            subject="image",
            reason="no head stands out from a background",
            cure="Send the series again with its pixel data.",
        )
    chosen = _choose(head.sum(axis=(1, 2)).astype(np.float64))
    # Single bright pixels far from the head must not widen the box: a row counts if a fiftieth of it is head.
    share = head[chosen].mean(axis=0)
    rows = np.flatnonzero(share.mean(axis=1) > 0.02)
    columns = np.flatnonzero(share.mean(axis=0) > 0.02)
    cut = values[chosen][:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    column_mm, row_mm, _ = stack.spacing
    size = [max(8, round(n * mm / WORK_MM)) for n, mm in zip(cut.shape[1:], (row_mm, column_mm), strict=True)]
    slices = torch.from_numpy(np.ascontiguousarray(cut, dtype=np.float32))[:, None]
    slices = F.interpolate(slices, size=size, mode="bilinear", align_corners=False, antialias=True)
    return _answer(identity, slices, "cpu")
