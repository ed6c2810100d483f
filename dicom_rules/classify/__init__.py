"""Which contrast a series shows, from its headers.

In: the headers of one series, then the classes of one study, then (where there is one) a second opinion from the
images. Out: `SeriesClass` with its evidence in sentences. Never reads a file, a pixel or a clock, and never guesses:
where the evidence does not suffice the contrast is None.
"""

from __future__ import annotations

from dicom_rules.classify.names import normalised
from dicom_rules.classify.rules import ClassifyRules
from dicom_rules.classify.series import classify, main_stack
from dicom_rules.classify.stacks import StackImages
from dicom_rules.classify.study import are_twins, in_their_study
from dicom_rules.classify.types import KINDS, PLANES, SeriesClass, StackClass, Timing
from dicom_rules.classify.vote import ON_DISAGREEMENT, with_image_votes

__all__ = [
    "KINDS",
    "ON_DISAGREEMENT",
    "PLANES",
    "ClassifyRules",
    "SeriesClass",
    "StackClass",
    "StackImages",
    "Timing",
    "are_twins",
    "classify",
    "in_their_study",
    "main_stack",
    "normalised",
    "with_image_votes",
]
