"""Which contrast a series shows, from its headers.

In: the headers of one series. Out: a `SeriesClass` with its evidence in sentences. Never reads a file, a pixel
or a clock, and never guesses: where the evidence does not suffice the contrast is None.
"""

from __future__ import annotations

from dicom_rules.classify.names import normalised
from dicom_rules.classify.rules import ClassifyRules
from dicom_rules.classify.series import classify, main_stack
from dicom_rules.classify.types import KINDS, PLANES, SeriesClass

__all__ = ["KINDS", "PLANES", "ClassifyRules", "SeriesClass", "classify", "main_stack", "normalised"]
