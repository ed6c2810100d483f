"""From a synthetic volume to the DICOM objects that go back to the PACS.

In: the stored values, the reference volume, the headers of every source, who made it and when; for the report, what
was found and decided. Out: data sets (the MR series as classic slices or one enhanced object, a map of the
uncertainty, a report, and by choice an overlay, a summary sheet, a note of rejection), the same bytes for the same
input. Never: a clock, a file, a random number, and never a header that claims an acquisition.
"""

from __future__ import annotations

from dicom_rules.derive.account import Account, Decision, Figures, FoundSeries, Superseded, patient_free
from dicom_rules.derive.enhanced import can_be_enhanced, enhanced
from dicom_rules.derive.mr import encode
from dicom_rules.derive.part10 import to_part10
from dicom_rules.derive.picture import encode_picture
from dicom_rules.derive.presentation import encode_presentation
from dicom_rules.derive.provenance import is_ours_or_synthetic
from dicom_rules.derive.rejection import encode_rejection
from dicom_rules.derive.report import encode_report
from dicom_rules.derive.series import free_series_number
from dicom_rules.derive.types import Maker, SyntheticVolume
from dicom_rules.derive.uids import device_uid, series_uid, sop_uid
from dicom_rules.derive.uncertainty import LEVEL_PERCENT, Uncertainty, encode_uncertainty

__all__ = [
    "LEVEL_PERCENT",
    "Account",
    "Decision",
    "Figures",
    "FoundSeries",
    "Maker",
    "Superseded",
    "SyntheticVolume",
    "Uncertainty",
    "can_be_enhanced",
    "device_uid",
    "encode",
    "encode_picture",
    "encode_presentation",
    "encode_rejection",
    "encode_report",
    "encode_uncertainty",
    "enhanced",
    "free_series_number",
    "is_ours_or_synthetic",
    "patient_free",
    "series_uid",
    "sop_uid",
    "to_part10",
]
