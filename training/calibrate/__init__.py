"""How far a bundle can be trusted, measured: factors of its intervals, its distance to strangers, its quality floor.

In: a bundle, cases of patients that it never saw. Out: the manifest's fact `calibration`, and what it is worth on still
other patients. Never: a guarantee that the patients at hand cannot carry.
"""

from __future__ import annotations

from training.calibrate.fact import Calibrated, Covered, calibrate, source_sets
from training.calibrate.intervals import allowed_misses, coverage, empirical, guaranteed
from training.calibrate.measure import Ratios, measure, stack_of
from training.calibrate.sealing import seal_calibrated

__all__ = [
    "Calibrated",
    "Covered",
    "Ratios",
    "allowed_misses",
    "calibrate",
    "coverage",
    "empirical",
    "guaranteed",
    "measure",
    "seal_calibrated",
    "source_sets",
    "stack_of",
]
