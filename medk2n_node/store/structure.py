"""Is a received data set whole, and who is it? Walks the elements (PS3.5 section 7); decodes no pixel.

The walk goes over the encoded bytes from the first element to the last and checks that every length fits
into what was received, so a truncated object is recognised without looking at its content. On the way it
notes the few attributes by which the node files an object. Only the transfer syntaxes that the listener
accepts can occur: little endian, implicit or explicit, native or encapsulated, never deflated.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

IMPLICIT_LE = "1.2.840.10008.1.2"

SOP_CLASS = 0x00080016
SOP_INSTANCE = 0x00080018
MODALITY = 0x00080060
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
BIRTH_DATE = 0x00100030
STUDY = 0x0020000D
SERIES = 0x0020000E
WANTED = frozenset({SOP_CLASS, SOP_INSTANCE, MODALITY, PATIENT_NAME, PATIENT_ID, BIRTH_DATE, STUDY, SERIES})
LAST_WANTED = max(WANTED)
_NAMES = {SOP_CLASS: "SOP Class UID", SOP_INSTANCE: "SOP Instance UID", STUDY: "Study Instance UID",
          SERIES: "Series Instance UID"}  # fmt: skip

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_VR = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_VR = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
    | {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DEEPEST = 64  # far beyond any real object; a bound on what a hostile one can make us do

_TAG = struct.Struct("<HH")
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<I")


class UnreadableError(Exception):
    """The bytes are not a whole DICOM data set; `code` for programs, `str()` for people."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the node files an object under. `patient` is raw bytes: it is hashed and goes nowhere else."""

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    modality: str
    patient: bytes


def identify(data: memoryview, transfer_syntax: str) -> Identity:
    """Walk a whole encoded data set and give its identity.

    Raises:
        UnreadableError: not a DICOM data set, truncated, or one of the four UIDs is missing or invalid.
    """
    values: dict[int, bytes] = {}
    walker = _Walker(data, implicit=transfer_syntax == IMPLICIT_LE)
    walker.walk(values)
    patient = values.get(PATIENT_ID, b"").strip(b" \0")
    if not patient:
        # Without an identifier two patients are still told apart by name and date of birth.
        name, born = values.get(PATIENT_NAME, b""), values.get(BIRTH_DATE, b"")
        patient = b"\0" + name.strip(b" \0") + b"\0" + born.strip(b" \0")
    return Identity(
        sop_class=_uid(values, SOP_CLASS),
        sop_uid=_uid(values, SOP_INSTANCE),
        study_uid=_uid(values, STUDY),
        series_uid=_uid(values, SERIES),
        modality=values.get(MODALITY, b"").strip(b" \0").decode("ascii", "replace")[:16],
        patient=patient,
    )


def peek(data: memoryview, transfer_syntax: str) -> Mapping[str, str]:
    """The UIDs that can be read before the fault of an unreadable object: `study_uid`, `sop_uid` where found."""
    values: dict[int, bytes] = {}
    with contextlib.suppress(UnreadableError):  # what was read before the fault is what is asked for
        _Walker(data, implicit=transfer_syntax == IMPLICIT_LE).walk(values)
    found = {"study_uid": STUDY, "sop_uid": SOP_INSTANCE}
    return {
        name: _text(values[tag])
        for name, tag in found.items()
        if tag in values and is_uid(_text(values[tag]))
    }


def is_uid(text: str) -> bool:
    """PS3.5 section 9.1, except that leading zeros of a component are let pass: real senders have them."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _text(value: bytes) -> str:
    return value.rstrip(b" \0").decode("ascii", "replace")


def _uid(values: dict[int, bytes], tag: int) -> str:
    text = _text(values.get(tag, b""))
    if not text:
        raise UnreadableError("missing_uid", f"the object has no {_NAMES[tag]}")
    if not is_uid(text):
        raise UnreadableError("invalid_uid", f"the {_NAMES[tag]} of the object is not a valid UID")
    return text


class _Walker:
    """Walks encoded elements. Positions are byte offsets in `data`."""

    def __init__(self, data: memoryview, *, implicit: bool) -> None:
        self.data = data
        self.implicit = implicit

    def walk(self, values: dict[int, bytes]) -> None:
        """The top level: exactly to the last byte; fills `values` with the wanted elements it meets."""
        data, size, position = self.data, len(self.data), 0
        if size == 0:
            raise UnreadableError("empty", "the object holds no bytes at all")
        while position < size:
            tag, vr, length, value_at = self._element(position, size, self.implicit)
            if tag < 0x00080000:
                raise UnreadableError("not_dicom", f"element {_name(tag)} does not belong in a data set")
            if length == _UNDEFINED:
                position = self._undefined(tag, vr, value_at, size, self.implicit, depth=1)
                continue
            position = value_at + length
            if position > size:
                raise UnreadableError(
                    "truncated",
                    f"the object ends within {_name(tag)}: {length} bytes announced, {size - value_at} received",
                )
            if tag <= LAST_WANTED and tag in WANTED:
                values[tag] = bytes(data[value_at:position])

    def _element(self, position: int, end: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and the position of the value of the element at `position`."""
        data = self.data
        if position + 8 > end:
            raise UnreadableError(
                "truncated", f"the object ends within an element header, at byte {position}"
            )
        group, element = _TAG.unpack_from(data, position)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            return tag, b"", _LONG.unpack_from(data, position + 4)[0], position + 8
        vr = bytes(data[position + 4 : position + 6])
        if vr in _SHORT_VR:
            return tag, vr, _SHORT.unpack_from(data, position + 6)[0], position + 8
        if vr not in _LONG_VR:
            raise UnreadableError("not_dicom", f"the value representation of {_name(tag)} is not valid")
        if position + 12 > end:
            raise UnreadableError(
                "truncated", f"the object ends within an element header, at byte {position}"
            )
        return tag, vr, _LONG.unpack_from(data, position + 8)[0], position + 12

    def _undefined(self, tag: int, vr: bytes, position: int, end: int, implicit: bool, depth: int) -> int:
        """Skip a value of undefined length: encapsulated pixel data or a sequence; gives the position after it."""
        if depth > _DEEPEST:
            raise UnreadableError("not_dicom", f"sequences are nested deeper than {_DEEPEST} in {_name(tag)}")
        # PS3.5 section 6.2.2: UN of undefined length is a sequence in implicit VR.
        inner_implicit = implicit or vr == b"UN"
        fragments = vr in (b"OB", b"OW")
        while True:
            item, _, length, position = self._element(position, end, True)
            if item == _SEQUENCE_END:
                return position
            if item != _ITEM:
                raise UnreadableError(
                    "not_dicom", f"{_name(item)} stands where an item of {_name(tag)} should"
                )
            if length != _UNDEFINED:
                if position + length > end:
                    raise UnreadableError(
                        "truncated",
                        f"the object ends within {_name(tag)}: "
                        f"{length} bytes announced, {end - position} received",
                    )
                position += length
            elif fragments:
                raise UnreadableError("not_dicom", f"a fragment of {_name(tag)} has no length")
            else:
                position = self._item(position, end, inner_implicit, depth)

    def _item(self, position: int, end: int, implicit: bool, depth: int) -> int:
        """Skip an item of undefined length; gives the position after its delimiter."""
        while True:
            tag, vr, length, value_at = self._element(position, end, implicit)
            if tag == _ITEM_END:
                return value_at
            if length == _UNDEFINED:
                position = self._undefined(tag, vr, value_at, end, implicit, depth + 1)
                continue
            position = value_at + length
            if position > end:
                raise UnreadableError(
                    "truncated",
                    f"the object ends within {_name(tag)}: {length} bytes announced, {end - value_at} received",
                )


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
