"""The figures of one synthetic volume against its truth, inside the brain (MODEL section 5).

All of them take (n, H, W) stacks in units of the target's 99.5th percentile, clipped to 0..1 here, and a mask.
torchmetrics is imported where it is used: it takes seconds to load.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.metrics import normalized_mutual_information

Stack = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]

#: Gaussian window of SSIM: sigma 1.5 gives 11 pixels (Wang et al. 2004); also the filter of HFEN (15 pixels).
SIGMA = 1.5
#: Pixels around the brain that a window or filter can see.
MARGIN = 7
#: Detail (root mean square) below which a truth is flat: what the cut-off tails of the filter leave of a constant.
FLAT = 1e-4
#: PSNR of an image without any error, in dB: what 1e-12 of squared error would give.
PERFECT_DB = 120.0


def psnr(prediction: Stack, truth: Stack, mask: Mask) -> float:
    """Peak signal-to-noise ratio in dB over the mask, data range 1."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    p, y = torch.from_numpy(prediction[mask]), torch.from_numpy(truth[mask])
    value = float(peak_signal_noise_ratio(p.double(), y.double(), data_range=1.0))
    return min(value, PERFECT_DB)


def mae(prediction: Stack, truth: Stack, mask: Mask) -> float:
    """Mean absolute error over the mask."""
    from torchmetrics.functional import mean_absolute_error

    p, y = torch.from_numpy(prediction[mask]), torch.from_numpy(truth[mask])
    return float(mean_absolute_error(p.double(), y.double()))


def ssim_maps(prediction: Stack, truth: Stack) -> Stack:
    """Structural similarity at every pixel of every slice, Gaussian window 11, sigma 1.5, data range 1."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    p, y = torch.from_numpy(prediction)[:, None], torch.from_numpy(truth)[:, None]
    found = structural_similarity_index_measure(p, y, sigma=SIGMA, data_range=1.0, return_full_image=True)
    return np.asarray(found[1][:, 0].numpy(), dtype=np.float32)


def hfen(prediction: Stack, truth: Stack, mask: Mask) -> float | None:
    """High-frequency error norm: |LoG(p) - LoG(y)| / |LoG(y)| over the mask; the filter is 15x15, in-plane.

    (Ravishankar and Bresler, IEEE TMI 2011.) None where the truth has no detail at all.
    """

    def detail(image: Stack) -> Stack:
        # one slice at a time, so that a stride changes nothing
        out = ndimage.gaussian_laplace(image, SIGMA, axes=(1, 2), truncate=MARGIN / SIGMA)
        return np.asarray(out[mask], dtype=np.float64)

    wanted = detail(truth)
    norm = float(np.linalg.norm(wanted))
    if norm < FLAT * np.sqrt(wanted.size):
        return None
    return float(np.linalg.norm(detail(prediction) - wanted)) / norm


def nmi(prediction: Stack, truth: Stack, mask: Mask) -> float:
    """Normalised mutual information (H(p) + H(y)) / H(p, y) over the mask, 64 bins: 1 unrelated, 2 one-to-one."""
    p, y = prediction[mask], truth[mask]
    if float(np.ptp(p)) == 0 or float(np.ptp(y)) == 0:
        return 1.0  # a constant says nothing about anything; the quotient would be 0/0 or H(y)/H(y)
    return float(normalized_mutual_information(p, y, bins=64))


def z_ratio(prediction: Stack, truth: Stack, mask: Mask, z: Numbers) -> float | None:
    """mean|dz p| / mean|dz y| over neighbouring slices inside the brain; None where no two slices are neighbours.

    Above 1 the synthetic volume flickers from slice to slice more than the true one.
    """
    near = np.flatnonzero(np.diff(z) == 1)
    both = mask[near] & mask[near + 1]
    if not both.any():
        return None
    true = float(np.abs(truth[near + 1] - truth[near])[both].mean())
    made = float(np.abs(prediction[near + 1] - prediction[near])[both].mean())
    return made / true if true > 0 else None


def best_fit(prediction: Stack, truth: Stack, mask: Mask) -> Stack:
    """The prediction after the best linear fit to the truth over the mask: without the difference in brightness.

    A second reading only, for it looks at the truth. A constant prediction becomes the truth's mean.
    """
    p, y = prediction[mask].astype(np.float64), truth[mask].astype(np.float64)
    variance = float(p.var())
    gain = float(np.mean((p - p.mean()) * (y - y.mean()))) / variance if variance > 1e-12 else 0.0
    return np.clip(gain * (prediction - p.mean()) + y.mean(), 0, 1).astype(np.float32)


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """The brain's rows and columns with what a window around them sees."""
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return (
        slice(None),
        slice(max(0, int(rows[0]) - MARGIN), int(rows[-1]) + MARGIN + 1),
        slice(max(0, int(columns[0]) - MARGIN), int(columns[-1]) + MARGIN + 1),
    )


def _reading(prediction: Stack, truth: Stack, brain: Mask, z: Numbers) -> dict[str, float | None]:
    inside_p, inside_y = prediction * brain, truth * brain
    return {
        "psnr": psnr(prediction, truth, brain),
        "ssim": float(ssim_maps(inside_p, inside_y)[brain].mean()),
        "mae": mae(prediction, truth, brain),
        "hfen": hfen(inside_p, inside_y, brain),
        "nmi": nmi(prediction, truth, brain),
        "z_ratio": z_ratio(prediction, truth, brain, z),
    }


def figures(
    prediction: Stack, truth: Stack, brain: Mask, lesion: Mask, z: Numbers
) -> dict[str, dict[str, float | None] | None]:
    """Every figure of one volume, each twice.

    Args:
        prediction, truth: (n, H, W), 1 = the target's 99.5th percentile inside the brain (the prediction: what the
            method holds it to be).
        brain, lesion: (n, H, W). z: the n slice numbers.

    Returns:
        raw (as it comes) and fit (after the best linear fit over the brain): psnr, ssim, mae, hfen, nmi, z_ratio;
        lesion and rest (brain minus lesion), None where no lesion is known: psnr, mae, psnr_fit, mae_fit, bias (mean
        signed error as it comes), voxels;
        legacy: psnr and ssim over whole slices, background included, mean over slices (equations P-10, P-11; Med-K2N
        prints the same two and gives no formula). No other figure here can be compared with the papers' tables.
    """
    p, y = (np.clip(v, 0, 1).astype(np.float32) for v in (prediction, truth))
    whole_p, whole_y = p, y
    everything = np.ones(y.shape[1:], bool)
    box = _box(brain)
    p, y, brain, lesion = p[box], y[box], brain[box], lesion[box] & brain[box]
    fitted = best_fit(p, y, brain)
    parts: dict[str, dict[str, float | None] | None] = {
        "raw": _reading(p, y, brain, z),
        "fit": _reading(fitted, y, brain, z),
        "lesion": None,
        "rest": None,
        "legacy": {
            "psnr": float(np.mean([psnr(a, b, everything) for a, b in zip(whole_p, whole_y, strict=True)])),
            "ssim": float(ssim_maps(whole_p, whole_y).mean()),
        },
    }
    if lesion.any():
        for name, where in (("lesion", lesion), ("rest", brain & ~lesion)):
            parts[name] = {
                "psnr": psnr(p, y, where),
                "mae": mae(p, y, where),
                "psnr_fit": psnr(fitted, y, where),
                "mae_fit": mae(fitted, y, where),
                "bias": float((p - y)[where].mean(dtype=np.float64)),
                "voxels": float(where.sum()),
            }
    return parts
