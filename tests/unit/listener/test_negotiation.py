"""Who may call and what is agreed on, without any network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ

from medk2n_node.config import PeerSection
from medk2n_node.listener import negotiation
from medk2n_node.listener.callers import why_not
from medk2n_node.listener.wire import ProtocolError
from tests.raw_sender import MR, VERIFICATION, accepted, associate_rq

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG_BASELINE, JPEG_LS, J2K, J2K_LOSSY, RLE = (
    f"1.2.840.10008.1.2.{suffix}" for suffix in ("4.50", "4.80", "4.90", "4.91", "5")
)
LOSSLESS = [EXPLICIT, IMPLICIT, JPEG_LS, J2K, RLE, "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"]


def agree(abstract: str, *offered: str) -> tuple[int, str]:
    """Result and transfer syntax of one context."""
    payload = associate_rq([(abstract, offered)], calling_ae=b"A", called_ae=b"B")[6:]
    request = negotiation.read_request(payload)
    assert isinstance(request, negotiation.Request)
    answer = negotiation.answer(request, max_pdu_bytes=65536)
    assert isinstance(answer, negotiation.Agreement)
    A_ASSOCIATE_AC().decode(answer.answer)  # a stranger reads it
    return accepted(answer.answer[6:])[1]


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_every_lossless_syntax_is_accepted(syntax: str) -> None:
    assert agree(MR, syntax) == (0, syntax)


@pytest.mark.parametrize("syntax", [JPEG_BASELINE, J2K_LOSSY, BIG_ENDIAN, DEFLATED, "1.2.3"])
def test_lossy_and_retired_syntaxes_are_not(syntax: str) -> None:
    assert agree(MR, syntax)[0] == 4


def test_explicit_is_preferred_then_implicit_then_the_senders_first_lossless() -> None:
    assert agree(MR, JPEG_LS, IMPLICIT, EXPLICIT) == (0, EXPLICIT)
    assert agree(MR, JPEG_LS, IMPLICIT) == (0, IMPLICIT)
    assert agree(MR, JPEG_BASELINE, RLE, JPEG_LS) == (0, RLE)


@pytest.mark.parametrize(
    "abstract",
    [
        MR,
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.34.7",  # RT Beams Delivery Instruction, outside the storage root
        "1.2.840.10008.5.1.4.1.1.9999.1",  # a storage class of the future
        "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image Storage
    ],
)
def test_every_storage_class_is_taken_known_or_not(abstract: str) -> None:
    assert agree(abstract, EXPLICIT) == (0, EXPLICIT)


@pytest.mark.parametrize(
    "abstract",
    [
        "1.2.840.10008.5.1.4.1.2.2.1",
        "1.2.840.10008.5.1.4.31",
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.5.1.1.9",
    ],
)
def test_other_services_are_not(abstract: str) -> None:
    assert agree(abstract, EXPLICIT)[0] == 3


def test_an_echo_alone_is_not_an_association_that_stores() -> None:
    payload = associate_rq([(VERIFICATION, [IMPLICIT])], calling_ae=b"A", called_ae=b"B")[6:]
    request = negotiation.read_request(payload)
    assert isinstance(request, negotiation.Request)
    answer = negotiation.answer(request, max_pdu_bytes=65536)
    assert isinstance(answer, negotiation.Agreement) and answer.contexts and not answer.stores


def test_a_title_padded_with_nul_bytes_is_read() -> None:
    payload = associate_rq([(MR, [EXPLICIT])], calling_ae=b"SCANNER".ljust(16, b"\0"), called_ae=b"B")[6:]
    request = negotiation.read_request(payload)
    assert isinstance(request, negotiation.Request)
    assert request.calling_ae == "SCANNER"


@pytest.mark.parametrize("title", [b"\xff\xfeBAD", b"A\\B", b"A\tB", b"", b"\0" * 16, b"A\0B"])
def test_a_garbage_calling_title_is_rejected_and_its_bytes_are_named(title: bytes) -> None:
    payload = associate_rq([(MR, [EXPLICIT])], calling_ae=title, called_ae=b"B")[6:]
    refusal = negotiation.read_request(payload)
    assert isinstance(refusal, negotiation.Refusal)
    assert repr(title.rstrip(b"\0 ")) in refusal.words
    rejection = A_ASSOCIATE_RJ()
    rejection.decode(refusal.answer)
    assert rejection.reason_str == "Calling AE title not recognised"


def test_another_application_than_dicom_is_rejected() -> None:
    payload = associate_rq([(MR, [EXPLICIT])], calling_ae=b"A", called_ae=b"B")[6:]
    payload = payload.replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9")
    request = negotiation.read_request(payload)
    assert isinstance(request, negotiation.Request)
    refusal = negotiation.answer(request, max_pdu_bytes=65536)
    assert isinstance(refusal, negotiation.Refusal)


@given(
    position=st.integers(min_value=0), value=st.integers(min_value=0, max_value=255), cut=st.integers(0, 40)
)
@settings(max_examples=300)
def test_a_damaged_request_is_answered_or_called_a_protocol_error(
    position: int, value: int, cut: int
) -> None:
    payload = bytearray(associate_rq([(MR, [EXPLICIT, IMPLICIT])], calling_ae=b"A", called_ae=b"B")[6:])
    payload[position % len(payload)] = value
    try:
        request = negotiation.read_request(bytes(payload[: len(payload) - cut]))
    except ProtocolError:
        return
    if isinstance(request, negotiation.Request):
        negotiation.answer(request, max_pdu_bytes=65536)


PEERS = (
    PeerSection(ae_title="MR1", hosts=("10.0.0.0/8", "192.168.1.5")),
    PeerSection(ae_title="ANYWHERE"),
    PeerSection(ae_title="SAFE", tls=True),
)


@pytest.mark.parametrize(
    ("calling_ae", "address", "over_tls", "reason"),
    [
        ("MR1", "10.3.2.1", False, None),
        ("MR1", "::ffff:10.3.2.1", False, None),
        ("MR1", "192.168.1.5", False, None),
        ("MR1", "192.168.1.6", False, "may not call from 192.168.1.6"),
        ("mr1", "10.3.2.1", False, "no peer with the AE title 'mr1'"),
        ("OTHER", "127.0.0.1", False, "no peer with the AE title 'OTHER'"),
        ("ANYWHERE", "8.8.8.8", False, None),
        ("SAFE", "8.8.8.8", False, "must use TLS"),
        ("SAFE", "8.8.8.8", True, None),
    ],
)
def test_the_allow_list_names_who_may_call_from_where(
    calling_ae: str, address: str, over_tls: bool, reason: str | None
) -> None:
    found = why_not(calling_ae, address, over_tls=over_tls, peers=PEERS)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_without_any_peer_only_this_machine_may_call() -> None:
    assert why_not("ANY", "127.0.0.1", over_tls=False, peers=()) is None
    assert why_not("ANY", "::1", over_tls=False, peers=()) is None
    refused = why_not("ANY", "10.0.0.7", over_tls=False, peers=())
    assert refused == "no peers are configured, so only this machine may call; 10.0.0.7 is another one"
