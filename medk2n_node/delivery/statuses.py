"""What a C-STORE response means for the ledger (PS3.4 table B.2-1, PS3.7 annex C).

Pure. Accepted: the peer holds the object, perhaps with a remark. Later: the peer cannot now, or we do not know
how it ended; try again until the time to give up. Rejected: the peer does not want this object; a few repeats
in case its configuration is being changed, then the dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pydicom.uid import UID

REJECTED_ATTEMPTS = 5
"""How often an object is offered to a peer that rejects it for what it is."""


class Answer(Enum):
    """What the ledger does with a response."""

    ACCEPTED = "accepted"
    """the row is DONE"""
    LATER = "later"
    """the row stays OPEN and is due again after the backoff"""
    REJECTED = "rejected"
    """the row is DEAD once `REJECTED_ATTEMPTS` are spent"""
    DECLINED = "declined"
    """the peer has no use for this class of object, which only goes along with a series: DEAD at once"""


DECLINED_STATUS = "declined"
"""Stands in the ledger where no status came, because the class was refused before anything was sent."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer (or the lack of one) as it is kept in the ledger.

    `status` is four hex digits, or None when no status came; `words` say it for a person and carry the peer's own
    Error Comment (0000,0902) where it sent one.
    """

    answer: Answer
    status: str | None
    words: str


def decline(sop_class: str) -> Response:
    """The answer for an object beside the series whose SOP class the peer did not accept."""
    return Response(
        answer=Answer.DECLINED, status=DECLINED_STATUS, words=f"the peer takes no {UID(sop_class).name}"
    )


_WORDS: dict[int, str] = {
    0x0000: "stored",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "stored, but some attributes were not recognised",
    0x0110: "processing failure",
    0x0111: "the peer already holds an object with this UID",
    0x0112: "no such object instance",
    0x0116: "stored, but an attribute value is out of range",
    0x0117: "invalid object instance",
    0x0119: "class and instance do not match",
    0x0122: "the peer does not support this SOP class",
    0x0124: "the peer does not authorise us",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "the peer is at a resource limit",
    0xB000: "stored, with elements coerced",
    0xB006: "stored, with elements discarded",
    0xB007: "stored, though the data set does not match its SOP class",
}
_LATER = frozenset({0x0110, 0x0210, 0x0213})
# 0x0111 is a general failure code, but here it is the proof that an earlier attempt got through: our UIDs are
# digests of what the object was made from, so the same UID is the same object.
_ACCEPTED = frozenset({0x0000, 0x0111, 0x0107, 0x0116})


RANGES: tuple[tuple[str, int], ...] = (("A7xx", 0xA7FF), ("A9xx", 0xA9FF), ("Bxxx", 0xBFFE), ("Cxxx", 0xCFFF))
"""The ranges of PS3.4 table B.2-1, each with a status that stands for it."""


def readings() -> list[tuple[str, Response]]:
    """Every status with words of its own, every range, any other one, and none at all, as `judge` reads them."""
    named = [(f"{status:04X}", judge(status)) for status in sorted(_WORDS)]
    ranges = [(name, judge(status)) for name, status in RANGES]
    return [*named, *ranges, ("any other", judge(0x0FFF)), ("none", judge(None))]


def judge(status: int | None, comment: str = "") -> Response:
    """Read a C-STORE status; None when the association ended before an answer came."""
    if status is None:
        words = "no answer came before the association ended"
        return Response(answer=Answer.LATER, status=None, words=_join(words, comment))
    code = f"{status:04X}"
    if status in _ACCEPTED or 0xB000 <= status <= 0xBFFF:
        return Response(answer=Answer.ACCEPTED, status=code, words=_join(_words(status), comment))
    if status in _LATER or 0xA700 <= status <= 0xA7FF:
        return Response(answer=Answer.LATER, status=code, words=_join(_words(status), comment))
    return Response(answer=Answer.REJECTED, status=code, words=_join(_words(status), comment))


def _words(status: int) -> str:
    if status in _WORDS:
        return _WORDS[status]
    if 0xA700 <= status <= 0xA7FF:
        return "the peer is out of resources"
    if 0xA900 <= status <= 0xA9FF:
        return "the data set does not match its SOP class"
    if 0xC000 <= status <= 0xCFFF:
        return "the peer cannot understand the data set"
    if 0xB000 <= status <= 0xBFFF:
        return "stored, with a warning"
    return "the peer answered with a failure"


def _join(words: str, comment: str) -> str:
    comment = " ".join(comment.split())
    return f"{words}; the peer says: {comment}" if comment else words
