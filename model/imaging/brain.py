"""The brain mask: deepbet's published weights, run by our own few lines on any grid.

Percentiles and scores are taken inside the brain: scalp and fat set the head's percentiles, differ by protocol, and
cost 2 to 6 dB. The weights (deepbet 1.0.2, MIT) travel inside its wheel as TorchScript; its Python package, which
would add five dependencies, is never imported. Two networks: a coarse one finds the box, a fine one the mask.
"""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from model.errors import ImagingError
from model.imaging.grid import Pose, pose_of
from model.imaging.image import Image

Mask = npt.NDArray[np.bool_]

#: Adult and child brains with the margin that thick slices and partial coverage need, in millilitres.
BRAIN_ML = (250.0, 2200.0)
#: Outside the head, arrays that were masked by a publisher hold exactly one value in most voxels.
_EMPTY_FRACTION = 0.30
#: Share of a masked image that must be found to be brain, by the whole method and by the coarse network alone.
_STRIPPED, _SURELY_STRIPPED = 0.72, 0.80


@dataclass(frozen=True, kw_only=True)
class BrainMask:
    """(S, R, C) bool mask, how it was made, and its volume in ml. `coarse`: on a grid of 128 cubed, interpolated."""

    mask: Mask
    stripped: bool
    volume_ml: float
    coarse: bool = False


@functools.cache
def _networks() -> tuple[torch.jit.ScriptModule, torch.jit.ScriptModule]:
    distribution = importlib.metadata.distribution("deepbet")
    loaded = []
    for name in ("bbox_model.pt", "model.pt"):
        path = Path(str(distribution.locate_file(f"data/models/{name}")))
        with warnings.catch_warnings():
            # TorchScript is deprecated but is the only form in which these weights are published.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location="cpu")
        module.eval()
        loaded.append(module)
    return loaded[0], loaded[1]


def _standardise(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """The input range that the weights were trained on."""
    x = ((x - low) / max(high - low, 1e-6)).clamp(0, 1)
    return 0.226 * (x - x.mean()) / x.std().clamp_min(1e-6) + 0.449


def largest_component(mask: Mask) -> Mask:
    """The largest 6-connected component, holes filled; empty stays empty."""
    if not mask.any():
        return mask
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    first = sitk.Cast(labels == 1, sitk.sitkUInt8)
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(first)), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class _Coarse:
    """What the coarse network says of an array: the mask at 128 cubed, and the range of values that it was shown."""

    mask: Mask
    low: float
    high: float

    def on(self, shape: tuple[int, ...]) -> Mask:
        """The mask on the array's own grid."""
        soft = torch.from_numpy(self.mask.astype(np.float32))[None, None]
        found = F.interpolate(soft, shape, mode="trilinear", align_corners=False)[0, 0] > 0.5
        return largest_component(found.numpy())


def _infer_coarse(array: npt.NDArray[np.float32]) -> _Coarse:
    """deepbet's first network on an array in RAS order (x, y, z), as its weights expect: a fifth of the whole cost."""
    volume = torch.from_numpy(array)[None, None]
    with torch.inference_mode():
        small = F.interpolate(volume, (128, 128, 128), mode="nearest-exact")
        low, high = (float(v) for v in torch.quantile(small.flatten()[::2], torch.tensor([0.005, 0.995])))
        mask = (_networks()[0](_standardise(small, low, high))[0, 1] > 0.5).numpy()
    return _Coarse(mask=largest_component(mask), low=low, high=high)


def _infer_fine(array: npt.NDArray[np.float32], threshold: float, first: _Coarse) -> Mask:
    """deepbet's second network inside the box that the first one found."""
    volume = torch.from_numpy(array)[None, None]
    coarse, low, high = first.mask, first.low, first.high
    with torch.inference_mode():
        box: list[slice] = []
        for axis in range(3):
            other = tuple(k for k in range(3) if k != axis)
            hit = np.flatnonzero(coarse.mean(axis=other) > 0.02)
            if not hit.size:
                return np.zeros(array.shape, bool)
            scale = array.shape[axis] / 128
            start, stop = hit[0] * scale, (hit[-1] + 1) * scale
            margin = 0.1 * (stop - start)
            box.append(slice(max(0, round(start - margin)), min(array.shape[axis], round(stop + margin))))
        crop = volume[0, 0][tuple(box)]
        fine_in = F.interpolate(crop[None, None], (256, 256, 256), mode="nearest-exact")
        fine = _networks()[1](_standardise(fine_in, low, high))[0, 1]
        fine = F.interpolate(fine[None, None], crop.shape, mode="trilinear", align_corners=False)[0, 0]
    mask = np.zeros(array.shape, bool)
    mask[tuple(box)] = (fine > threshold).numpy()
    return largest_component(mask)


def _as_ras(image: Image) -> tuple[npt.NDArray[np.float32], Pose]:
    """The array as (x to right.., y to anterior, z to superior), nearest permutation."""
    pose = pose_of(image, "axial")
    array = pose.apply(image.array)  # (S, P, L)
    ras = np.transpose(array[:, ::-1, ::-1], (2, 1, 0))
    return np.ascontiguousarray(ras, dtype=np.float32), pose


def brain_mask(image: Image, *, subject: str, threshold: float = 0.5, coarse: bool = False) -> BrainMask:
    """Where the brain is.

    Args:
        image: an MR image of a head, with or without its skull, any grid.
        subject: what the image is called in an error.
        coarse: the first network alone. It overlaps the whole method's mask by 0.95 to 0.99 (Dice, nine series), at a
            fifth of the cost: enough to lay brains onto each other, not to take percentiles in.

    Raises:
        ImagingError: blank (no two values differ) or not_a_brain (no component of a brain's size).
    """
    values = image.array
    if not np.isfinite(values).all() or float(values.max()) <= float(values.min()):
        raise ImagingError(
            code="blank",
            subject=subject,
            reason="all pixels have the same value, there is no image in it",
            cure="Send the series again with its pixel data.",
        )
    voxel_ml = abs(float(np.linalg.det(image.affine[:3, :3]))) / 1000
    foreground = values > 0
    ras, pose = _as_ras(image)
    first = _infer_coarse(ras)

    def own(found: Mask) -> Mask:
        return np.ascontiguousarray(pose.undo(np.transpose(found, (2, 1, 0))[:, ::-1, ::-1]), dtype=bool)

    found = own(first.on(ras.shape))
    inside, stripped = None, False
    if 1 - foreground.mean() > _EMPTY_FRACTION:
        inside = largest_component(np.asarray(foreground, bool))
        if not BRAIN_ML[0] <= float(inside.sum()) * voxel_ml <= BRAIN_ML[1]:
            inside = None
    # Skull already removed: what is left has a brain's volume, and the network finds most of it to be brain. Where the
    # first network leaves no doubt of that, the second has nothing to add.
    if inside is not None and _share(inside, found) > _SURELY_STRIPPED:
        found, stripped = inside, True
    elif not coarse:
        found = own(_infer_fine(ras, threshold, first))
        if inside is not None and _share(inside, found) > _STRIPPED:
            found, stripped = inside, True
    volume = float(found.sum()) * voxel_ml
    if not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        raise ImagingError(
            code="not_a_brain",
            subject=subject,
            reason=f"no brain was found in it (largest brain-like region {volume:.0f} ml, a head has "
            f"{BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} ml)",
            cure="Only studies of the head can be completed; check the series and its coverage.",
        )
    return BrainMask(mask=found, stripped=stripped, volume_ml=volume, coarse=coarse and not stripped)


def _share(inside: Mask, found: Mask) -> float:
    """How much of `inside` was found to be brain."""
    return float((inside & found).sum()) / max(1.0, float(inside.sum()))
