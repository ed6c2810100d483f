"""One value out of a Siemens CSA header, the little file of tags inside (0029,1010) and (0029,1020).

The layout is not published by the vendor; this follows nibabel's description of it (nibabel.nicom.csareader), whose
reader warns at import and stops with an assertion at a header that a de-identification has damaged. Here whatever
does not fit ends the search: an unreadable header states nothing.
"""

from __future__ import annotations

import struct

MOST_TAGS, MOST_ITEMS = 512, 256
_TAG = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<iiii")


def csa_value(content: bytes, wanted: str) -> str:
    """The first value of the tag `wanted`, stripped; empty when it is absent, empty or out of reach."""
    second_form = content[:4] == b"SV10"
    place = 8 if second_form else 0
    if len(content) < place + 8:
        return ""
    (count,) = struct.unpack_from("<I", content, place)
    place += 8
    base: int | None = None
    for _ in range(min(count, MOST_TAGS)):
        if place + _TAG.size > len(content):
            return ""
        name, _vm, _vr, _type, items, _check = _TAG.unpack_from(content, place)
        place += _TAG.size
        base = items if base is None else base
        if not 0 <= items <= MOST_ITEMS:
            return ""
        for _ in range(items):
            if place + _ITEM.size > len(content):
                return ""
            first, second, _third, _fourth = _ITEM.unpack_from(content, place)
            place += _ITEM.size
            # The older form adds the number of items of its first tag to every length.
            length = second if second_form else first - base
            if not 0 <= length <= len(content) - place:
                return ""
            if _word(name) == wanted and length:
                return _word(content[place : place + length])
            place += length + (-length) % 4
    return ""


def _word(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin-1").strip()
