"""PDUs and command sets, as bytes."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RP

from medk2n_node.listener import wire
from tests.raw_sender import element, even, p_data

REQUEST = wire.Command(field=1, message_id=7, has_data_set=True, sop_class="1.2.840.1", sop_uid="1.2.3")


def command(*elements: bytes) -> bytes:
    return b"".join(elements)


def us(number: int, value: int) -> bytes:
    return element(number, struct.pack("<H", value))


def test_a_store_request_is_read() -> None:
    data = command(
        element(0, struct.pack("<I", 99)),
        element(0x0002, even("1.2.840.1")),
        us(0x0100, 1),
        us(0x0110, 7),
        us(0x0800, 1),
        element(0x1000, even("1.2.3")),
    )
    assert wire.decode_command(data) == REQUEST


def test_the_answer_is_what_a_stranger_expects() -> None:
    kind, payload = wire.read_pdu(BytesIO(wire.encode_response(5, REQUEST, 0xA700, "disk is full")), 1 << 16)
    assert kind == wire.P_DATA_TF
    assert payload[4:6] == bytes([5, 0b11])
    answer = decode(BytesIO(payload[6:]), True, True)
    assert answer.CommandField == 0x8001
    assert answer.MessageIDBeingRespondedTo == 7
    assert answer.Status == 0xA700
    assert answer.ErrorComment == "disk is full"
    assert answer.AffectedSOPInstanceUID == "1.2.3"
    assert answer.CommandGroupLength == len(payload) - 6 - 12


def test_an_error_comment_is_cut_to_what_its_vr_may_hold() -> None:
    payload = wire.encode_response(1, REQUEST, 0xC000, "x" * 200)[12:]
    assert len(decode(BytesIO(payload), True, True).ErrorComment) == 64


def test_abort_and_release_are_what_a_stranger_reads() -> None:
    abort = A_ABORT_RQ()
    abort.decode(wire.encode_abort(source=2, reason=wire.UNRECOGNISED_PDU))
    assert (abort.source, abort.reason_diagnostic) == (2, 1)
    A_RELEASE_RP().decode(wire.RELEASE_RP_BYTES)


def test_bytes_that_are_no_pdu_are_named() -> None:
    with pytest.raises(wire.ProtocolError, match="type 0x47, which does not exist"):
        wire.read_pdu(BytesIO(b"GET / HTTP/1.0\r\n\r\n"), 1 << 16)


def test_a_pdu_larger_than_agreed_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.ProtocolError, match="at most 65536 were agreed"):
        wire.read_pdu(BytesIO(struct.pack(">BxI", 4, 1 << 31)), 1 << 16)


def test_a_message_is_put_together_from_fragments_of_several_pdus() -> None:
    stream = BytesIO(
        p_data(b"one", context_id=1, control=0)
        + p_data(b"two", context_id=1, control=0b10)
        + b"\x05\0\0\0\0\4\0\0\0\0"
    )
    inbound = wire.Inbound(stream, 1 << 16)
    assert b"".join(inbound.rest(None, context_id=1, is_command=False)) == b"onetwo"
    assert inbound.next() == wire.RELEASE_RQ


def test_two_fragments_in_one_pdu_are_two() -> None:
    both = p_data(b"a", context_id=1, control=0)[6:] + p_data(b"b", context_id=1, control=0b10)[6:]
    inbound = wire.Inbound(BytesIO(struct.pack(">BxI", 4, len(both)) + both), 1 << 16)
    assert b"".join(inbound.rest(None, context_id=1, is_command=False)) == b"ab"


@pytest.mark.parametrize(
    "second",
    [
        p_data(b"x", context_id=3, control=0b10),
        p_data(b"x", context_id=1, control=0b11),
        b"\x05\0\0\0\0\4\0\0\0\0",
    ],
)
def test_something_else_within_a_message_is_a_protocol_error(second: bytes) -> None:
    inbound = wire.Inbound(BytesIO(p_data(b"one", context_id=1, control=0) + second), 1 << 16)
    with pytest.raises(wire.ProtocolError):
        list(inbound.rest(None, context_id=1, is_command=False))


@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_in_place_of_a_command_set_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.decode_command(data)


@given(data=st.binary(max_size=400))
@settings(max_examples=300)
def test_random_bytes_on_the_wire_end_in_one_of_two_ways(data: bytes) -> None:
    inbound = wire.Inbound(BytesIO(data), 1 << 16)
    with pytest.raises((wire.ProtocolError, wire.ConnectionLostError)):
        while True:
            inbound.next()
