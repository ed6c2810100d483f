"""How far a source lies from what the network learned from: Mahalanobis distance on its pooled features.

Per contrast its own mean, over all contrasts one covariance of the deviations from them, shrunk towards a multiple of
the identity by the oracle-approximating rule (OAS; Chen, Wiesel, Eldar, Hero 2010, equation 23): 64 features of some
dozens of patients have no covariance that could be inverted as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model.calibration import Distance

Floats = npt.NDArray[np.float64]

#: The limit is this many times the largest distance of patients that never trained: it was taken from few.
MARGIN = 1.5


def shrunk_covariance(deviations: Floats) -> Floats:
    """(n, D) deviations from their means -> (D, D), always invertible for n > 1 and deviations that are not all 0."""
    n, d = deviations.shape
    sample = deviations.T @ deviations / n
    mu = float(np.trace(sample)) / d
    square = float(np.mean(sample**2))
    weight = min(1.0, (square + mu**2) / ((n + 1) * (square - mu**2 / d))) if square > mu**2 / d else 1.0
    return (1 - weight) * sample + weight * mu * np.eye(d)


def fit_distance(learned: Mapping[str, Sequence[Floats]]) -> Distance | None:
    """The distance to these features (contrast -> one (D,) per case); the threshold is not known yet: infinity.

    Contrasts seen in one case alone are left out: one head says nothing about what is usual. None where none is left.
    """
    kept = {name: np.stack(list(rows)) for name, rows in learned.items() if len(rows) > 1}
    if not kept:
        return None
    means = {name: rows.mean(axis=0) for name, rows in kept.items()}
    deviations = np.concatenate([rows - means[name] for name, rows in kept.items()])
    if not np.any(deviations):
        return None
    precision = np.linalg.inv(shrunk_covariance(deviations))
    return Distance(
        means=means, whitening=np.linalg.cholesky(precision).T, threshold=float("inf"), patients=0
    )


def threshold_of(distances: Mapping[str, float]) -> float:
    """The limit from the largest distance of each patient that took no part in the fit; never below what is usual."""
    return MARGIN * max(1.0, *distances.values())
