"""Rules over DICOM data sets: which series is which, what is missing, where a slice lies, how a result is
written.

In: pydicom data sets and plain values. Out: frozen values with sentences that say why. Never: disk, network,
database or clock. The doors are the sub-packages `classify`, `geometry`, `protocols` and `derive`.
"""

from __future__ import annotations

from dicom_rules.errors import ClassifyError, EncodeError, GeometryError, ProtocolError, RuleError

CONTRASTS: tuple[str, ...] = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")
"""The contrasts of the node, in the order in which they are listed everywhere."""

__all__ = ["CONTRASTS", "ClassifyError", "EncodeError", "GeometryError", "ProtocolError", "RuleError"]
