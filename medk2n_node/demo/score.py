"""How near a synthetic image comes to the truth, inside the brain.

Truth divided by its own 99.5th percentile inside the mask, the synthetic image by the value that the model
itself states for it, both clipped to 0..1. SSIM: Wang 2004, IEEE Trans Image Process 13:600, Gaussian of
sigma 1.5, within slices (they are thick), mean over the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_C1, _C2 = 0.01**2, 0.03**2  # for a data range of 1
_SIGMA, _TRUNCATE = 1.5, 3.5  # 11 taps


@dataclass(frozen=True, kw_only=True)
class Score:
    """PSNR in dB and SSIM inside the mask, as it comes and after the best linear fit to the truth.

    `constant_db` is what an image of nothing but the truth's mean would reach.
    """

    psnr_db: float
    ssim: float
    fitted_psnr_db: float
    constant_db: float


def normalised_truth(truth: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """The truth with its 99.5th percentile inside the mask at 1, clipped to 0..1."""
    return np.asarray(np.clip(truth / np.percentile(truth[mask], 99.5), 0.0, 1.0), dtype=np.float32)


def score(synthetic: Floats, scale: float, truth: Floats, mask: npt.NDArray[np.bool_]) -> Score:
    """Compare (S, R, C) images; `scale` is the stored value that stands for the target's 99.5th percentile."""
    wanted = normalised_truth(truth, mask)
    made = np.asarray(np.clip(synthetic / scale, 0.0, 1.0), dtype=np.float32)
    slope, offset = np.polyfit(made[mask].astype(np.float64), wanted[mask].astype(np.float64), 1)
    return Score(
        psnr_db=_psnr(made, wanted, mask),
        ssim=_ssim(made * mask, wanted * mask, mask),
        fitted_psnr_db=_psnr(np.clip(made * slope + offset, 0.0, 1.0), wanted, mask),
        constant_db=_psnr(np.full_like(wanted, wanted[mask].mean()), wanted, mask),
    )


def _psnr(made: npt.NDArray[np.floating], wanted: Floats, mask: npt.NDArray[np.bool_]) -> float:
    error = float(np.mean((made[mask].astype(np.float64) - wanted[mask]) ** 2))
    return float(-10.0 * np.log10(max(error, 1e-12)))


def _ssim(made: Floats, wanted: Floats, mask: npt.NDArray[np.bool_]) -> float:
    from scipy import ndimage

    def blurred(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        sigma = (0.0, _SIGMA, _SIGMA)
        return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=_TRUNCATE), dtype=np.float64)

    a, b = made.astype(np.float64), wanted.astype(np.float64)
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    similar /= (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    return float(similar[mask].mean())
