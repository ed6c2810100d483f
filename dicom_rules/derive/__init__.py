"""From a synthetic volume to the DICOM objects that go back to the PACS.

In: the stored values, the reference volume, the headers of every source, who made it and when. Out: one
MR Image Storage data set per slice, the same bytes for the same input. Never: a clock, a file, a random
number, and never a header that claims an acquisition.
"""

from __future__ import annotations

from dicom_rules.derive.mr import encode
from dicom_rules.derive.part10 import to_part10
from dicom_rules.derive.provenance import is_ours_or_synthetic
from dicom_rules.derive.series import free_series_number
from dicom_rules.derive.types import Maker, SyntheticVolume
from dicom_rules.derive.uids import device_uid, series_uid, sop_uid

__all__ = [
    "Maker",
    "SyntheticVolume",
    "device_uid",
    "encode",
    "free_series_number",
    "is_ours_or_synthetic",
    "series_uid",
    "sop_uid",
    "to_part10",
]
