"""What the classifier says about one series."""

from __future__ import annotations

from dataclasses import dataclass

KINDS: tuple[str, ...] = (
    "structural",
    "diffusion",
    "localizer",
    "perfusion",
    "functional",
    "fieldmap",
    "angiography",
    "susceptibility",
    "derived",
    "synthetic",
    "not_mr",
    "other",
)

PLANES: tuple[str, ...] = ("axial", "sagittal", "coronal", "oblique", "3d")


@dataclass(frozen=True, kw_only=True)
class SeriesClass:
    """One series: its contrast, or None when it is none of ours or the evidence does not suffice.

    `usable` says whether the series may serve as a source or count as present; `unusable_because` then holds
    a reason code (not_head, synthetic, derived, localizer, blank_pixels, geometry, no_contrast, ...).
    `evidence` are the sentences that led there, in the order in which they were weighed. Lengths are in mm.
    """

    study_uid: str
    series_uid: str
    description: str
    contrast: str | None
    kind: str
    plane: str
    confidence: float
    instances: int
    usable: bool
    evidence: tuple[str, ...]
    unusable_because: str | None = None
    named: str | None = None
    """The structural contrast that the names suggest, where the evidence did not suffice for `contrast`."""
    agent: bool | None = None
    """True: a contrast agent is stated; False: stated absent; None: nothing said."""
    body_part: str = ""
    study_description: str = ""
    protocol_name: str = ""
    b_value: float | None = None
    """s/mm2; only for diffusion."""
    three_d: bool = False
    in_plane_mm: float | None = None
    slice_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None
    coverage_mm: float | None = None
    slices: int = 0
    acquired_at: str = ""
    """Acquisition date and time as received (DT form), for the order of series; empty when not stated."""
    frame_of_reference_uid: str = ""
    lossy: bool = False
    motion: bool = False
    """A name says that the scan was repeated, moved or is of limited quality."""
