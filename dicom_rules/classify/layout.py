"""Where the images of a stack lie: plane, spacing, coverage, time. Describes; `geometry` is what refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pydicom.dataset import Dataset

from dicom_rules.classify.facts import Facts, Sample
from dicom_rules.reading import text

PLANE_COSINE = 0.8
"""A plane within 37 degrees of an axis carries its name; routine axial slices are tilted by up to 30."""

NEAR_ISOTROPIC = 2.05
"""A 3-D acquisition whose voxels are at most about twice as long as wide has no plane worth naming."""

SAME_PLACE_MM = 0.01


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Lengths in mm; None where positions are not stated."""

    plane: str
    slices: int
    in_plane_mm: float | None
    spacing_mm: float | None
    coverage_mm: float | None


def layout_of(facts: Facts) -> Layout:
    """The layout of the stack of these facts."""
    placed = [
        sample for sample in facts.samples if len(sample.position) == 3 and len(sample.orientation) == 6
    ]
    in_plane = max(facts.in_plane_mm) if facts.in_plane_mm else None
    normal = _normal(placed[0].orientation) if placed else _normal(_any_orientation(facts.samples))
    along = _places_along(placed, normal) if placed and normal else []
    spacing = median(b - a for a, b in pairwise(along)) if len(along) > 1 else None
    coverage = along[-1] - along[0] + spacing if spacing is not None else None
    step = spacing if spacing is not None else facts.thickness_mm
    return Layout(
        plane=_plane(normal, facts.three_d, in_plane, step),
        slices=len(along) or len(facts.samples),
        in_plane_mm=in_plane,
        spacing_mm=None if spacing is None else round(spacing, 3),
        coverage_mm=None if coverage is None else round(coverage, 1),
    )


def acquired_at(headers: Sequence[Dataset]) -> str:
    """When the first image was acquired, as one sortable string (DT form); empty when not stated."""
    return min((found for header in headers if (found := _acquired_at(header))), default="")


def _acquired_at(header: Dataset) -> str:
    whole = text(header, "AcquisitionDateTime")
    if whole:
        return whole
    for stem in ("Acquisition", "Series", "Content"):
        date, time = text(header, f"{stem}Date"), text(header, f"{stem}Time")
        if date and time:
            return date + time
    return ""


def _any_orientation(samples: Sequence[Sample]) -> tuple[float, ...]:
    return next((sample.orientation for sample in samples if len(sample.orientation) == 6), ())


def _normal(orientation: tuple[float, ...]) -> tuple[float, float, float] | None:
    if len(orientation) != 6:
        return None
    a, b = orientation[:3], orientation[3:]
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _places_along(placed: Sequence[Sample], normal: tuple[float, float, float]) -> list[float]:
    found = sorted(sum(x * n for x, n in zip(sample.position, normal, strict=True)) for sample in placed)
    distinct = found[:1]
    for place in found[1:]:
        if place - distinct[-1] > SAME_PLACE_MM:
            distinct.append(place)
    return distinct


def _plane(
    normal: tuple[float, float, float] | None,
    three_d: bool | None,
    in_plane: float | None,
    step: float | None,
) -> str:
    if three_d and in_plane and step and max(in_plane, step) / min(in_plane, step) <= NEAR_ISOTROPIC:
        return "3d"
    if normal is None:
        return "3d" if three_d else "oblique"
    share, name = max(zip((abs(one) for one in normal), ("sagittal", "coronal", "axial"), strict=True))
    return name if share >= PLANE_COSINE else "oblique"
