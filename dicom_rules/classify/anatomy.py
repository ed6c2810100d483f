"""What the sequence itself says about the body part, where nothing else does.

A sequence that nulls cerebrospinal fluid, or whose cycle is tuned to grey against white matter, is used in the
brain. A sagittal spin echo is what every examination of the spine is made of (T1 in two dimensions, T2 in two or
three). All others (axial spin echoes, fast
3-D gradient echoes, diffusion) are used in just this form in abdomen, pelvis and joints.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_rules.classify.facts import Facts
from dicom_rules.classify.physics import family_of, is_prepared

MPRAGE_CYCLE_MS = 1300
"""An MP-RAGE repeats its inversion after 1.3 to 3 s to part grey from white matter (Mugler and Brookeman, Magn Reson
Med 15:152, 1990). Vendors that state the time between its echoes instead (6 to 10 ms) do not show the cycle."""

LOW_FLIP_DEG = 20


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """`head`: the sequence is one of the brain; `spine`: it may as well be of a spine; and the sentence for it."""

    sentence: str
    head: bool = False
    spine: bool = False


def judged_by_sequence(contrast: str, facts: Facts, plane: str) -> Anatomy:
    """Brain, perhaps spine, or neither, for a series of this contrast whose body part nothing states."""
    if contrast == "FLAIR":
        return Anatomy(head=True, sentence="A sequence that nulls cerebrospinal fluid is one of the brain")
    tr, flip = facts.repetition_time or 0.0, facts.flip_angle
    low_flip = flip is not None and flip <= LOW_FLIP_DEG
    if contrast in ("T1", "T1C") and tr >= MPRAGE_CYCLE_MS and low_flip:
        return Anatomy(
            head=True,
            sentence=f"An MP-RAGE cycle of {tr:g} ms is tuned to grey against white matter: a brain",
        )
    # A 3-D acquisition counts by the plane of its slices, whatever its voxels.
    sagittal = plane == "sagittal" or (plane == "3d" and _is_sagittal(facts))
    of_spines = contrast == "T2" or (contrast in ("T1", "T1C") and not facts.three_d)
    if family_of(facts) == "spin_echo" and sagittal and of_spines:
        return Anatomy(
            spine=True,
            sentence=f"A sagittal spin echo that shows {contrast} is what examinations of the spine are made of as "
            "well, so the contrast is withheld until something says that this is a head",
        )
    prepared = " prepared" if is_prepared(facts) else ""
    return Anatomy(sentence=f"This{prepared} sequence is used in the same form in other parts of the body")


def _is_sagittal(facts: Facts) -> bool:
    orientation = next((one.orientation for one in facts.samples if len(one.orientation) == 6), ())
    if not orientation:
        return False
    a, b = orientation[:3], orientation[3:]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return abs(normal[0]) > max(abs(normal[1]), abs(normal[2]))
