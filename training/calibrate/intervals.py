"""How wide an interval must be so that a share of the patients is covered, and with what right that may be said.

The exchangeable unit is the patient: voxels of one head err together, so ten million of them are one observation. A
patient is missed where less than 1 - alpha of its in-mask voxels lie inside the interval. The share of missed patients
is the risk that is controlled (risk-controlling prediction sets, Bates et al. 2021); for a loss of 0 or 1 the exact
binomial bound is the sharpest there is, and it needs at least 22 patients at alpha = delta = 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


def allowed_misses(patients: int, alpha: float, delta: float) -> int | None:
    """How many of the patients may be missed so that the risk is at most alpha with confidence 1 - delta.

    None where the patients are too few even with no miss: P(no miss | risk alpha) = (1 - alpha)^n > delta.
    """
    best: int | None = None
    for misses in range(patients + 1):
        if float(stats.binom.cdf(misses, patients, alpha)) > delta:
            break
        best = misses
    return best


def needed(ratios: Floats, alpha: float) -> float:
    """The smallest factor at which at least 1 - alpha of these voxels lie inside the interval."""
    ordered = np.sort(ratios)
    return float(ordered[int(np.ceil((1 - alpha) * len(ordered))) - 1])


def guaranteed(patients: Sequence[Floats], alpha: float, delta: float) -> float | None:
    """The factor of a set of patients (their ratios |error| / half-width) with a guarantee; None: uncalibrated."""
    misses = allowed_misses(len(patients), alpha, delta)
    if misses is None:
        return None
    each = sorted((needed(ratios, alpha) for ratios in patients), reverse=True)
    return each[misses]


def empirical(patients: Sequence[Floats], alpha: float) -> float | None:
    """The factor at which the patients at hand are covered on average: no guarantee, None without a patient."""
    if not patients:
        return None
    low, high = 0.0, max(float(ratios.max()) for ratios in patients) + 1e-9
    for _ in range(50):
        middle = (low + high) / 2
        if coverage(patients, middle) >= 1 - alpha:
            high = middle
        else:
            low = middle
    return high


def coverage(patients: Sequence[Floats], factor: float) -> float:
    """Mean over patients of the share of voxels inside an interval widened by the factor."""
    return float(np.mean([np.mean(ratios <= factor) for ratios in patients]))
