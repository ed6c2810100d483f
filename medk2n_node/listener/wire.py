"""What goes over the wire once an association stands: PDUs (PS3.8 section 9.3) and command sets (PS3.7 section 6.3).

Only the few parts that the data path needs, read and written by hand: this is what a receiver spends its
time on. Negotiation, which happens once, is left to pynetdicom (see negotiation.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 0x01, 0x02, 0x03
P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = 0x04, 0x05, 0x06, 0x07

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
RESPONSE = 0x8000
NO_DATA_SET = 0x0101

# A-ABORT reasons of the service provider (PS3.8 table 9-26).
NOT_SPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 0, 1, 2, 6

RELEASE_RP_BYTES = struct.pack(">BBII", RELEASE_RP, 0, 4, 0)

_PDU_HEADER = struct.Struct(">BxI")
_PDV_HEADER = struct.Struct(">IBB")
_ELEMENT = struct.Struct("<HHI")


class ProtocolError(Exception):
    """The peer does not speak the protocol; `reason` goes into the A-ABORT."""

    def __init__(self, words: str, reason: int) -> None:
        super().__init__(words)
        self.reason = reason


class ConnectionLostError(Exception):
    """The peer closed the connection or it broke."""


def read_pdu(stream: BinaryIO, largest: int) -> tuple[int, bytes]:
    """The type and the payload of the next PDU.

    Raises:
        ConnectionLostError: the peer has gone; TimeoutError, OSError: as the socket raises them.
        ProtocolError: no PDU, or one larger than `largest` bytes.
    """
    header = stream.read(6)
    if len(header) < 6:
        raise ConnectionLostError("the peer closed the connection")
    kind, length = _PDU_HEADER.unpack(header)
    if not ASSOCIATE_RQ <= kind <= ABORT:
        raise ProtocolError(f"a PDU of type 0x{kind:02X}, which does not exist", UNRECOGNISED_PDU)
    if length > largest:
        raise ProtocolError(f"a PDU of {length} bytes, at most {largest} were agreed", INVALID_PARAMETER)
    payload = stream.read(length)
    if len(payload) < length:
        raise ConnectionLostError("the peer closed the connection within a PDU")
    return kind, payload


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """A presentation data value (PS3.8 annex E): part of a command set or of a data set."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


class Inbound:
    """Reads PDUs and hands out their fragments one by one."""

    def __init__(self, stream: BinaryIO, largest: int) -> None:
        self._stream = stream
        self._largest = largest
        self._fragments: Iterator[Fragment] = iter(())

    def next(self) -> Fragment | int:
        """The next fragment, or the type of a PDU that is no P-DATA-TF. Raises as read_pdu does."""
        while True:
            fragment = next(self._fragments, None)
            if fragment is not None:
                return fragment
            kind, payload = read_pdu(self._stream, self._largest)
            if kind != P_DATA_TF:
                return kind
            self._fragments = _fragments(payload)

    def rest(self, first: Fragment | None, *, context_id: int, is_command: bool) -> Iterator[memoryview]:
        """The data of one message part, from `first` (None: from the next fragment) to its last fragment.

        Raises:
            ConnectionLostError: the peer aborted; ProtocolError: something else stands in between.
        """
        fragment: Fragment | int = self.next() if first is None else first
        while True:
            if fragment == ABORT:
                raise ConnectionLostError("the peer aborted the association within a message")
            if isinstance(fragment, int):
                raise ProtocolError(f"a PDU of type 0x{fragment:02X} within a message", UNEXPECTED_PDU)
            if fragment.context_id != context_id or fragment.is_command != is_command:
                raise ProtocolError("parts of two messages mixed with each other", UNEXPECTED_PDU)
            yield fragment.data
            if fragment.is_last:
                return
            fragment = self.next()


def _fragments(payload: bytes) -> Iterator[Fragment]:
    view, position, end = memoryview(payload), 0, len(payload)
    while position < end:
        if position + 6 > end:
            raise ProtocolError("a P-DATA PDU that ends within a header", INVALID_PARAMETER)
        length, context_id, control = _PDV_HEADER.unpack_from(payload, position)
        following = position + 4 + length
        if length < 2 or following > end:
            raise ProtocolError("a P-DATA PDU whose lengths do not agree", INVALID_PARAMETER)
        yield Fragment(
            context_id=context_id,
            is_command=bool(control & 1),
            is_last=bool(control & 2),
            data=view[position + 6 : following],
        )
        position = following


@dataclass(frozen=True, kw_only=True)
class Command:
    """The elements of a command set that the listener acts on."""

    field: int
    message_id: int
    has_data_set: bool
    sop_class: str
    sop_uid: str


def decode_command(data: bytes) -> Command:
    """Read a command set (always implicit VR little endian). Raises ProtocolError where it is none."""
    values: dict[int, bytes] = {}
    position, end = 0, len(data)
    while position < end:
        if position + 8 > end:
            raise ProtocolError("a command set that ends within an element", INVALID_PARAMETER)
        group, element, length = _ELEMENT.unpack_from(data, position)
        position += 8
        if group != 0 or position + length > end:
            raise ProtocolError("bytes in place of a command set", INVALID_PARAMETER)
        values[element] = data[position : position + length]
        position += length

    def number(element: int) -> int:
        value = values.get(element, b"")
        if len(value) != 2:
            raise ProtocolError(f"a command set without (0000,{element:04X})", INVALID_PARAMETER)
        return int.from_bytes(value, "little")

    def uid(*elements: int) -> str:
        for element in elements:
            if element in values:
                return values[element].strip(b" \0").decode("ascii", "replace")
        return ""

    field = number(0x0100)
    return Command(
        field=field,
        # A C-CANCEL names the message it cancels and has no id of its own.
        message_id=number(0x0120 if field == C_CANCEL_RQ else 0x0110),
        has_data_set=number(0x0800) != NO_DATA_SET,
        sop_class=uid(0x0002, 0x0003),
        sop_uid=uid(0x1000, 0x1001),
    )


def encode_response(context_id: int, request: Command, status: int, comment: str = "") -> bytes:
    """The P-DATA-TF that answers `request`; `comment` becomes Error Comment (0000,0902), LO of 64 characters."""
    elements = [
        _text(0x0002, request.sop_class, b"\0") if request.sop_class else b"",
        _us(0x0100, request.field | RESPONSE),
        _us(0x0120, request.message_id),
        _us(0x0800, NO_DATA_SET),
        _us(0x0900, status),
        _text(0x0902, comment[:64], b" ") if comment else b"",
        _text(0x1000, request.sop_uid, b"\0") if request.sop_uid else b"",
    ]
    body = b"".join(elements)
    command = _ELEMENT.pack(0, 0x0000, 4) + struct.pack("<I", len(body)) + body
    value = _PDV_HEADER.pack(len(command) + 2, context_id, 0b11) + command
    return _PDU_HEADER.pack(P_DATA_TF, len(value)) + value


def encode_abort(*, source: int, reason: int) -> bytes:
    """An A-ABORT; source 0 is the user, 2 the provider (PS3.8 section 9.3.8)."""
    return struct.pack(">BxIxxBB", ABORT, 4, source, reason if source == 2 else 0)


def encode_reject(*, result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""
    return struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, result, source, reason)


def _us(element: int, value: int) -> bytes:
    return _ELEMENT.pack(0, element, 2) + value.to_bytes(2, "little")


def _text(element: int, value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    if len(encoded) % 2:
        encoded += padding
    return _ELEMENT.pack(0, element, len(encoded)) + encoded
