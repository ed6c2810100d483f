"""Statistics with the patient as the unit: slices, patterns and seeds of one patient are averaged, never counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 2000
#: The share that an interval covers.
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over patients and its bootstrap interval; no interval from one patient."""

    mean: float
    low: float | None
    high: float | None
    patients: int

    def to_json(self) -> dict[str, float | int | None]:
        """Plain values."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "patients": self.patients}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method against another on the same rows, `ours` minus `theirs`.

    Attributes:
        scope: "all" or the target; reading: "raw" or "fit".
        difference: PSNR in dB over patients. p: Wilcoxon, two-sided; None below two patients that differ.
        p_holm: after Holm over all comparisons of one report.
        won, rows: on how many of the rows ours has the higher PSNR.
    """

    ours: str
    theirs: str
    scope: str
    reading: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    won: int
    rows: int

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "ours": self.ours, "theirs": self.theirs, "scope": self.scope, "reading": self.reading,
            "difference": self.difference.to_json(), "p": self.p, "p_holm": self.p_holm, "won": self.won,
            "rows": self.rows,
        }  # fmt: skip


def by_patient(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """(patient, value) pairs -> the mean of each patient."""
    found: dict[str, list[float]] = {}
    for patient, value in values:
        found.setdefault(patient, []).append(value)
    return {patient: float(np.mean(v)) for patient, v in found.items()}


def estimate(patients: Mapping[str, float], *, seed: int = 0) -> Estimate:
    """Mean and percentile bootstrap over patients (scipy.stats.bootstrap).

    The same seed gives the same interval. Few patients give an interval that is too narrow: the report says so.
    """
    values = np.array(list(patients.values()), dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean=mean, low=None, high=None, patients=len(values))
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(mean=mean, low=float(found.low), high=float(found.high), patients=len(values))


def wilcoxon_p(differences: Sequence[float]) -> float | None:
    """Two-sided Wilcoxon signed-rank over patients; None with fewer than two that differ.

    Its smallest possible value with n patients is 2^(1-n): below six patients nothing can be significant at 0.05.
    """
    values = np.array([d for d in differences if d != 0.0])
    return None if len(values) < 2 else float(stats.wilcoxon(values).pvalue)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction: the k-th smallest of m times (m - k + 1), never falling; None stays None."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    out: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (value, place) in enumerate(known):
        worst = max(worst, min(1.0, value * (len(known) - rank)))
        out[place] = worst
    return out
