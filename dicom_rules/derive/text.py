"""Text that fits its value representation and the character set of the source.

PS3.5 section 6.2: LO holds 64 characters, SH 16, ST 1024; a backslash separates values of LO and SH. Our own
words are ASCII, which every character set of PS3.3 C.12.1.1.2 holds, so the source's set can be kept.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Sequence

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.valuerep import TEXT_VR_DELIMS

LO_LENGTH, SH_LENGTH, ST_LENGTH, CS_LENGTH, DS_LENGTH = 64, 16, 1024, 16, 16
UTF8 = "ISO_IR 192"


def ours(text: str, length: int) -> str:
    """`text` as ASCII of at most `length` characters, on one line, without backslashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    plain = "".join(character if character.isprintable() else " " for character in plain)
    plain = " ".join(plain.replace("\\", "/").split())
    return plain if len(plain) <= length else plain[: length - 3].rstrip() + "..."


def character_set(declared: str | Sequence[str] | None, texts: Iterable[str]) -> str | list[str] | None:
    """The Specific Character Set to write: the source's own where every text survives it, else UTF-8.

    `declared` is the source's (0008,0005) or None; `texts` are all texts that will be written. A text decoded
    from a source without a declared set keeps that source's bytes, so that it still matches its siblings. A
    declared set that does not exist is not repeated.
    """
    declared = list(declared) if declared is not None and not isinstance(declared, str) else declared
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", UserWarning
            )  # what pydicom does not know it would replace by Latin 1
            encodings = convert_encodings(declared)
    except (UserWarning, LookupError):
        declared, encodings = None, convert_encodings(None)
    if all(text.isascii() or _survives(text, encodings) for text in texts):
        return declared or None
    return UTF8


def _survives(text: str, encodings: Sequence[str]) -> bool:
    """Whether `text` comes back as it was from its bytes in these encodings."""
    if not all(any(_holds(encoding, character) for encoding in encodings) for character in set(text)):
        return False  # asked first because the encoder would warn and write question marks
    return decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text


def _holds(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
