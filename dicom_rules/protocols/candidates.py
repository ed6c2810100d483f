"""Of several series that show one contrast: which one counts, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_rules.classify import SeriesClass
from dicom_rules.protocols.rules import PlanRules

THICK_MM = 2.5
"""Slices further apart than this make a sagittal or coronal series a poor grid for a result read in the axial plane."""

UNKNOWN_MM = 99.0


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The candidates for one contrast, best first, and what to say of each."""

    best: SeriesClass
    others: tuple[tuple[SeriesClass, str], ...]


def why_not(one: SeriesClass, rules: PlanRules) -> str:
    """Why a usable series still cannot count for its contrast; empty when it can."""
    if one.confidence < rules.min_confidence:
        return f"its evidence is too weak ({one.confidence:.2f}, at least {rules.min_confidence:.2f})"
    if one.coverage_mm is not None and one.coverage_mm < rules.min_coverage_mm:
        least = f"at least {rules.min_coverage_mm:.0f} mm"
        return f"it covers only {one.coverage_mm:.0f} mm, a slab and not the brain ({least})"
    return ""


def rank(candidates: Sequence[SeriesClass]) -> Ranked:
    """Best first: no motion, before agent, good grid, fine voxels, sure, then the later of two equal scans."""
    # A repeat of the same scan was made because the first was not good enough, so the later one counts.
    by_time = sorted(candidates, key=lambda one: (one.acquired_at, one.series_uid), reverse=True)
    ordered = sorted(by_time, key=_demerits)
    best = ordered[0]
    return Ranked(best=best, others=tuple((one, _why_better(best, one)) for one in ordered[1:]))


def is_good_grid(one: SeriesClass) -> bool:
    """An axial or (nearly) isotropic series, or one in another plane with thin slices."""
    return one.plane in ("axial", "3d") or (one.slice_spacing_mm or UNKNOWN_MM) <= THICK_MM


def voxel_mm3(one: SeriesClass) -> float:
    """Volume of a voxel; large where the header does not state it."""
    step = one.slice_spacing_mm or one.slice_thickness_mm or UNKNOWN_MM
    return (one.in_plane_mm or UNKNOWN_MM) ** 2 * step


def _demerits(one: SeriesClass) -> tuple[float, ...]:
    after_agent = one.agent is True and one.contrast != "T1C"
    partial = -round((one.coverage_mm or 0.0) / 20)
    return (
        one.motion,
        after_agent,
        not is_good_grid(one),
        partial,
        round(voxel_mm3(one), 1),
        one.lossy,
        -one.confidence,
    )


def _why_better(best: SeriesClass, other: SeriesClass) -> str:
    if other.motion and not best.motion:
        return "its name says that the patient moved or the scan is limited"
    if other.agent is True and best.agent is not True and other.contrast != "T1C":
        return "it was taken after contrast agent, the other before"
    if is_good_grid(best) and not is_good_grid(other):
        return f"its {other.plane} slices are thick"
    if round((best.coverage_mm or 0) / 20) > round((other.coverage_mm or 0) / 20):
        return f"it covers {other.coverage_mm or 0:.0f} mm, the other {best.coverage_mm or 0:.0f} mm"
    if round(voxel_mm3(best), 1) < round(voxel_mm3(other), 1):
        return f"its voxels are larger ({voxel_mm3(other):.1f} against {voxel_mm3(best):.1f} mm3)"
    if other.lossy and not best.lossy:
        return "it was compressed with loss"
    if best.confidence > other.confidence:
        return f"its evidence is weaker ({other.confidence:.2f} against {best.confidence:.2f})"
    return "the other is the later scan"
