"""A sender that can misbehave: it writes PDUs by hand, whole or not, and reads what comes back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

MR = "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


class RawSender:
    """One connection to a Storage SCP. Numbers of PDU types are those of PS3.8 section 9.3."""

    def __init__(self, port: int, *, timeout_s: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._message_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def request(
        self,
        contexts: Sequence[tuple[str, Sequence[str]]] = ((MR, (EXPLICIT,)),),
        *,
        calling_ae: bytes = b"RAW",
        called_ae: bytes = b"MEDK2N",
    ) -> tuple[int, bytes]:
        """Send an A-ASSOCIATE-RQ and give type and payload of the answer."""
        self.socket.sendall(associate_rq(contexts, calling_ae=calling_ae, called_ae=called_ae))
        return self.read_pdu()

    def associate(
        self, contexts: Sequence[tuple[str, Sequence[str]]] = ((MR, (EXPLICIT,)),), **names: bytes
    ) -> None:
        """Send an A-ASSOCIATE-RQ that must be accepted."""
        kind, payload = self.request(contexts, **names)
        assert kind == 0x02, (kind, payload)

    def store(
        self,
        data: bytes,
        *,
        sop_uid: str,
        sop_class: str = MR,
        context_id: int = 1,
        fragment: int = 16000,
    ) -> tuple[int, str]:
        """C-STORE of an encoded data set; gives status and Error Comment."""
        self.send_command(sop_uid=sop_uid, sop_class=sop_class, context_id=context_id)
        for start in range(0, max(len(data), 1), fragment):
            last = start + fragment >= len(data)
            self.send_fragment(data[start : start + fragment], last=last, context_id=context_id)
        return self.read_status()

    def send_command(
        self,
        *,
        sop_uid: str,
        sop_class: str = MR,
        context_id: int = 1,
        field: int = 0x0001,
        data_set: bool = True,
    ) -> None:
        """A command set alone."""
        self._message_id += 1
        elements = b"".join(
            (
                element(0x0002, even(sop_class)),
                element(0x0100, struct.pack("<H", field)),
                element(0x0110, struct.pack("<H", self._message_id)),
                element(0x0700, struct.pack("<H", 2)),
                element(0x0800, struct.pack("<H", 1 if data_set else 0x0101)),
                element(0x1000, even(sop_uid)) if sop_uid else b"",
            )
        )
        command = element(0x0000, struct.pack("<I", len(elements))) + elements
        self.socket.sendall(p_data(command, context_id=context_id, control=0b11))

    def send_fragment(self, data: bytes, *, last: bool, context_id: int = 1) -> None:
        """A part of a data set."""
        self.socket.sendall(p_data(data, context_id=context_id, control=0b10 if last else 0))

    def read_status(self) -> tuple[int, str]:
        """Status and Error Comment of the next response."""
        kind, payload = self.read_pdu()
        assert kind == 0x04, (kind, payload)
        values = command_elements(payload[6:])
        assert struct.unpack("<H", values[0x0120])[0] == self._message_id
        return struct.unpack("<H", values[0x0900])[0], values.get(0x0902, b"").decode().strip()

    def release(self) -> None:
        """A-RELEASE, and its answer."""
        self.socket.sendall(struct.pack(">BxII", 0x05, 4, 0))
        assert self.read_pdu()[0] == 0x06

    def read_pdu(self) -> tuple[int, bytes]:
        """Type and payload of the next PDU; (0, b"") when the other side has hung up."""
        header = self._read(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                more = self.socket.recv(length - len(data))
            except ConnectionError:
                return data
            if not more:
                return data
            data += more
        return data


def associate_rq(
    contexts: Sequence[tuple[str, Sequence[str]]], *, calling_ae: bytes, called_ae: bytes
) -> bytes:
    """An A-ASSOCIATE-RQ; the contexts get the ids 1, 3, 5..."""
    items = item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, (abstract, syntaxes) in enumerate(contexts):
        names = item(0x30, abstract.encode()) + b"".join(item(0x40, one.encode()) for one in syntaxes)
        items += item(0x20, struct.pack(">Bxxx", 2 * number + 1) + names)
    items += item(0x50, item(0x51, struct.pack(">I", 65536)) + item(0x52, b"1.2.3.4") + item(0x55, b"RAW"))
    body = struct.pack(">HH", 1, 0) + called_ae.ljust(16) + calling_ae.ljust(16) + bytes(32) + items
    return struct.pack(">BxI", 0x01, len(body)) + body


def accepted(payload: bytes) -> dict[int, tuple[int, str]]:
    """The contexts of an A-ASSOCIATE-AC: id -> (result, transfer syntax)."""
    found: dict[int, tuple[int, str]] = {}
    position = 68
    while position < len(payload):
        kind, length = struct.unpack_from(">BxH", payload, position)
        value = payload[position + 4 : position + 4 + length]
        if kind == 0x21:
            found[value[0]] = (value[2], value[8:].decode())
        position += 4 + length
    return found


def p_data(data: bytes, *, context_id: int, control: int) -> bytes:
    """A P-DATA-TF with one fragment."""
    value = struct.pack(">IBB", len(data) + 2, context_id, control) + data
    return struct.pack(">BxI", 0x04, len(value)) + value


def command_elements(data: bytes) -> dict[int, bytes]:
    """The elements of a command set by their element number."""
    values: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        _, number, length = struct.unpack_from("<HHI", data, position)
        values[number] = data[position + 8 : position + 8 + length]
        position += 8 + length
    return values


def element(number: int, value: bytes) -> bytes:
    """An element of a command set."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def item(kind: int, value: bytes) -> bytes:
    """An item of an association PDU."""
    return struct.pack(">BxH", kind, len(value)) + value


def even(text: str) -> bytes:
    """A UID, padded."""
    raw = text.encode()
    return raw + b"\0" if len(raw) % 2 else raw
