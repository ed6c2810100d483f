"""From the instances of a series to one regular volume, or a refusal that names the place at fault.

In: pydicom data sets of one series, classic or enhanced. Out: a `Volume` (array, affine, slice references).
Never reorders by InstanceNumber, never fills a gap, never resamples.
"""

from __future__ import annotations

from dicom_rules.geometry.frames import Frame, frames_of
from dicom_rules.geometry.types import SliceRef, Volume
from dicom_rules.geometry.volume import check, to_volume

__all__ = ["Frame", "SliceRef", "Volume", "check", "frames_of", "to_volume"]
