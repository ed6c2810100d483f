"""The DIMSE statuses that the listener answers (PS3.7 annex C, PS3.4 table B.2-1)."""

from __future__ import annotations

SUCCESS = 0x0000
DUPLICATE_SOP_INSTANCE = 0x0111
UNRECOGNISED_OPERATION = 0x0211
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

ANSWERS: tuple[tuple[int, str, str], ...] = (
    (
        SUCCESS,
        "Success",
        "the object is on disk and found again after a crash, or these same bytes were held already",
    ),
    (
        DUPLICATE_SOP_INSTANCE,
        "Duplicate SOP instance",
        "other bytes under a SOP Instance UID that is held: the first is kept, the other set aside; answered "
        'with this status only where `duplicate_status = "duplicate"`, else with 0000',
    ),
    (
        OUT_OF_RESOURCES,
        "Refused: out of resources",
        "too little free disk space, or the database takes no rows; try again later",
    ),
    (
        DATA_SET_DOES_NOT_MATCH,
        "Data set does not match SOP class",
        "the data set names another SOP class or instance than the request; kept in quarantine with the reason",
    ),
    (
        CANNOT_UNDERSTAND,
        "Cannot understand",
        "no DICOM data set, truncated, or without one of its four UIDs; kept in quarantine with the reason",
    ),
    (UNRECOGNISED_OPERATION, "Unrecognised operation", "a request other than C-STORE and C-ECHO"),
)
"""Every status that goes out, with its meaning and when it is answered; Error Comment (0000,0902) says it in words."""

MISMATCHES = frozenset({"class_mismatch", "instance_mismatch"})


def of_quarantine(code: str) -> int:
    """The status for an object that went into quarantine for the reason `code`."""
    return DATA_SET_DOES_NOT_MATCH if code in MISMATCHES else CANNOT_UNDERSTAND
