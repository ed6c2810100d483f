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
class StackClass:
    """One stack of a mixed series: the images that share echo, b-value, part of the signal and ImageType.

    `label` is how it differs from its siblings ("TE 95 ms", "b = 1000 s/mm2"). `usable` says that it shows a
    contrast, is no derived object and lies on an even grid; what is true of the whole series comes on top.
    """

    label: str
    images: int
    contrast: str | None
    kind: str
    confidence: float
    usable: bool
    evidence: tuple[str, ...]
    speaks: bool = False
    """This is the stack that speaks for its series."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The parameters by which two series are twins: times in ms, angle in degrees, lengths in mm."""

    repetition: float
    echo: float
    inversion: float | None
    flip: float | None
    three_d: bool | None

    def is_twin_of(self, other: Timing) -> bool:
        """Equal but for rounding: a series and its repeat, or the same before and after an agent."""
        same_kind = self.three_d == other.three_d
        pairs = (
            (self.repetition, other.repetition),
            (self.echo, other.echo),
            (self.inversion, other.inversion),
            (self.flip, other.flip),
        )
        return same_kind and all(_near(one, two) for one, two in pairs)


TWIN_TOLERANCE = 0.05
"""Scanners adjust times to the patient's size and the number of slices; a protocol of its own differs by more."""


def _near(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return one is None and two is None
    return abs(one - two) <= TWIN_TOLERANCE * max(abs(one), abs(two))


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
    """A name says that the patient moved or that the scan is of limited quality."""
    repeat: bool = False
    """A name says that the scan was repeated."""
    modality: str = ""
    head: bool | None = None
    """True: a head is stated; False: another part of the body; None: nothing tells."""
    withheld: str | None = None
    """The contrast that the timing shows, where it is not given because nothing says that this is a head."""
    deep_learning: str = ""
    """The vendor's deep-learning reconstruction, as named; empty when the images are untouched by one."""
    timing: Timing | None = None
    stacks: tuple[StackClass, ...] = ()
    """The stacks of a mixed series, the one that speaks for it first; empty when the series is one stack."""
    station: str = ""
    institution: str = ""
    procedure_words: tuple[str, ...] = ()
    """What the request and the procedure are called (no text about the patient)."""
    procedure_codes: tuple[str, ...] = ()
    """Codes of procedure, reason and protocol as "SCHEME:VALUE"."""
    doubt: str = ""
    """Why a person should look before this series is used; empty when nothing speaks against it."""
