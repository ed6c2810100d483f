"""The DICOM file that a received data set lies in (PS3.10 section 7): our header, then the bytes as sent.

The header carries what the index knows beside the data set: transfer syntax, calling AE title and the
association, so that the row of an object can be written again from its file alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

# 2.25 + UUID (PS3.5 B.2), drawn once for this software.
IMPLEMENTATION_UID = "2.25.299086691350001129763009848682162924594"
IMPLEMENTATION_VERSION = "MEDK2N_1"
ASSOCIATION_UID = "2.25.183710401352285746225310428474387615449"
"""Private Information Creator UID (0002,0100) under which (0002,0102) holds the association's id."""

_PREFIX = b"\0" * 128 + b"DICM"


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """The file meta information that we write, and read back."""

    sop_class: str
    sop_uid: str
    transfer_syntax: str
    calling_ae: str
    association_id: str


def encode_header(header: FileHeader) -> bytes:
    """Preamble, prefix and file meta information (explicit VR little endian, always)."""
    meta = b"".join(
        (
            _long(0x0001, b"OB", b"\0\1"),
            _short(0x0002, b"UI", _even(header.sop_class, b"\0")),
            _short(0x0003, b"UI", _even(header.sop_uid, b"\0")),
            _short(0x0010, b"UI", _even(header.transfer_syntax, b"\0")),
            _short(0x0012, b"UI", _even(IMPLEMENTATION_UID, b"\0")),
            _short(0x0013, b"SH", _even(IMPLEMENTATION_VERSION, b" ")),
            _short(0x0016, b"AE", _even(header.calling_ae, b" ")),
            _short(0x0100, b"UI", _even(ASSOCIATION_UID, b"\0")),
            _long(0x0102, b"OB", _even(header.association_id, b"\0")),
        )
    )
    return _PREFIX + _short(0x0000, b"UL", struct.pack("<I", len(meta))) + meta


def decode_header(data: memoryview) -> tuple[FileHeader, int]:
    """The header of one of our files, and where the data set starts.

    Raises:
        ValueError: the bytes do not begin with file meta information.
    """
    if bytes(data[:132]) != _PREFIX or len(data) < 144:
        raise ValueError("no file meta information")
    end = 144 + struct.unpack_from("<I", data, 140)[0]
    if end > len(data):
        raise ValueError("the file ends within its meta information")
    values: dict[int, bytes] = {}
    position = 144
    while position < end:
        element, vr = struct.unpack_from("<H2s", data, position + 2)
        if vr in (b"OB", b"UN"):
            length, position = struct.unpack_from("<I", data, position + 8)[0], position + 12
        else:
            length, position = struct.unpack_from("<H", data, position + 6)[0], position + 8
        values[element] = bytes(data[position : position + length])
        position += length

    def text(element: int) -> str:
        return values.get(element, b"").strip(b" \0").decode("ascii", "replace")

    header = FileHeader(
        sop_class=text(0x0002),
        sop_uid=text(0x0003),
        transfer_syntax=text(0x0010),
        calling_ae=text(0x0016),
        association_id=text(0x0102) if text(0x0100) == ASSOCIATION_UID else "",
    )
    return header, end


def _even(value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + padding if len(encoded) % 2 else encoded


def _short(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _long(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sHI", 0x0002, element, vr, 0, len(value)) + value
