"""Of several series that show one contrast: which one counts, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_rules.classify import SeriesClass, are_twins
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
    if one.doubt:
        return one.doubt[:1].lower() + one.doubt[1:]
    if one.confidence < rules.min_confidence:
        return f"its evidence is too weak ({one.confidence:.2f}, at least {rules.min_confidence:.2f})"
    if one.coverage_mm is not None and one.coverage_mm < rules.min_coverage_mm:
        least = f"at least {rules.min_coverage_mm:.0f} mm"
        return f"it covers only {one.coverage_mm:.0f} mm, a slab and not the brain ({least})"
    return ""


def rank(candidates: Sequence[SeriesClass]) -> Ranked:
    """Best first: no motion, before agent, good grid, whole, untouched, fine voxels, sure, then by time."""
    # A repeat of the same scan was made because the first was not good enough, so the later one counts.
    by_time = sorted(candidates, key=lambda one: (one.acquired_at, one.series_uid), reverse=True)
    ordered = sorted(by_time, key=lambda one: _demerits(one, candidates))
    best = ordered[0]
    return Ranked(best=best, others=tuple((one, _why_better(best, one, candidates)) for one in ordered[1:]))


def is_good_grid(one: SeriesClass) -> bool:
    """An axial or (nearly) isotropic series, or one in another plane with thin slices."""
    return one.plane in ("axial", "3d") or (one.slice_spacing_mm or UNKNOWN_MM) <= THICK_MM


def voxel_mm3(one: SeriesClass) -> float:
    """Volume of a voxel; large where the header does not state it."""
    step = one.slice_spacing_mm or one.slice_thickness_mm or UNKNOWN_MM
    return (one.in_plane_mm or UNKNOWN_MM) ** 2 * step


def _has_untouched_twin(one: SeriesClass, candidates: Sequence[SeriesClass]) -> bool:
    """Whether the scan is here as well as the scanner made it, without the vendor's network."""
    return bool(one.deep_learning) and any(
        not other.deep_learning and are_twins(one, other) for other in candidates
    )


def _may_follow_an_agent(one: SeriesClass, candidates: Sequence[SeriesClass]) -> bool:
    """A T1 after its own twin, not said to be a repeat: an agent may have been given between, untold."""
    return (
        one.contrast == "T1"
        and one.agent is None
        and not one.repeat
        and any(
            are_twins(one, other) and "" < other.acquired_at < one.acquired_at and not other.motion
            for other in candidates
        )
    )


def _partial(one: SeriesClass) -> int:
    return -round((one.coverage_mm or 0.0) / 20)


def _demerits(one: SeriesClass, candidates: Sequence[SeriesClass]) -> tuple[float, ...]:
    return (
        one.motion,
        one.agent is True and one.contrast != "T1C",
        not is_good_grid(one),
        _partial(one),
        _has_untouched_twin(one, candidates),
        round(voxel_mm3(one), 1),
        one.lossy,
        _may_follow_an_agent(one, candidates),
        -one.confidence,
    )


def _why_better(best: SeriesClass, other: SeriesClass, candidates: Sequence[SeriesClass]) -> str:
    if other.motion and not best.motion:
        return "its name says that the patient moved or the scan is limited"
    if other.agent is True and best.agent is not True and other.contrast != "T1C":
        return "it was taken after contrast agent, the other before"
    if is_good_grid(best) and not is_good_grid(other):
        return f"its {other.plane} slices are thick"
    if _partial(best) < _partial(other):
        return f"it covers {other.coverage_mm or 0:.0f} mm, the other {best.coverage_mm or 0:.0f} mm"
    if _has_untouched_twin(other, candidates) and not _has_untouched_twin(best, candidates):
        return "a network of the vendor reconstructed it, and the same scan is here untouched"
    if round(voxel_mm3(best), 1) < round(voxel_mm3(other), 1):
        return f"its voxels are larger ({voxel_mm3(other):.1f} against {voxel_mm3(best):.1f} mm3)"
    if other.lossy and not best.lossy:
        return "it was compressed with loss"
    if _may_follow_an_agent(other, candidates) and not _may_follow_an_agent(best, candidates):
        return "it repeats the other later, and nothing says whether an agent was given between"
    if best.confidence > other.confidence:
        return f"its evidence is weaker ({other.confidence:.2f} against {best.confidence:.2f})"
    if best.repeat:
        return "the other is a repeat of the same scan"
    return "the other is the later scan"
