"""The DIMSE statuses that the listener answers (PS3.7 annex C, PS3.4 table B.2-1)."""

from __future__ import annotations

SUCCESS = 0x0000
DUPLICATE_SOP_INSTANCE = 0x0111
SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNISED_OPERATION = 0x0211
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

MISMATCHES = frozenset({"class_mismatch", "instance_mismatch"})


def of_quarantine(code: str) -> int:
    """The status for an object that went into quarantine for the reason `code`."""
    return DATA_SET_DOES_NOT_MATCH if code in MISMATCHES else CANNOT_UNDERSTAND
