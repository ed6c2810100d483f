"""A DICOM destination: C-STORE of files over one association, every response kept (PS3.4 annex B).

We propose Explicit VR Little Endian, in which the files are written, and Implicit VR Little Endian, which every
receiver must know. The association is always released: some archives take a release as the end of the study.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from dicom_rules.derive import patient_free
from medk2n_node.delivery.statuses import Answer, Response, decline, judge
from medk2n_node.observe import message_of
from medk2n_node.store import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

PROPOSED_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""The transfer syntaxes that we offer for every object, the preferred one first."""

MAX_CONTEXTS = 128  # PS3.8 section 7.1.1.13: presentation context ids are the odd numbers 1 to 255


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One object to send. `needed`: the peer must take it; otherwise it goes along where its class is supported."""

    sop_uid: str
    sop_class: str
    path: Path
    sha256: str
    needed: bool = True


@dataclass(frozen=True, kw_only=True)
class Address:
    """Whom to call and as whom; `tls` is the context of the client side, or None for plain TCP."""

    name: str
    calling_ae: str
    called_ae: str
    host: str
    port: int
    connect_timeout_s: float
    response_timeout_s: float
    tls: ssl.SSLContext | None = None


class Unreachable(Exception):
    """No association could be made; the words say how far it came."""


class NothingAccepted(Unreachable):
    """The peer answered, but supports none of the classes that were offered."""


def send(
    address: Address, objects: Sequence[Outgoing], on_response: Callable[[Outgoing, Response], None]
) -> bool:
    """Send `objects` in order over one association and report each response as it comes.

    `on_response` is called once for every object that was offered. Gives True when all were, False when the
    association ended before that.

    Raises:
        Unreachable: no association, so nothing was sent.
    """
    try:
        association = _associate(address, {one.sop_class for one in objects})
    except NothingAccepted:
        if any(one.needed for one in objects):
            raise
        for one in objects:
            on_response(one, decline(one.sop_class))
        return True
    accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
    try:
        for number, one in enumerate(objects):
            if not one.needed and one.sop_class not in accepted:
                response = decline(one.sop_class)
            else:
                response = _store(association, one, message_id=number % 65535 + 1)
            on_response(one, response)
            if not association.is_established:
                return number == len(objects) - 1
        return True
    finally:
        if association.is_established:
            association.release()


def _associate(address: Address, sop_classes: Iterable[str]) -> Association:
    entity = AE(ae_title=address.calling_ae)
    entity.implementation_class_uid = IMPLEMENTATION_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    entity.connection_timeout = address.connect_timeout_s
    entity.acse_timeout = address.response_timeout_s
    entity.dimse_timeout = address.response_timeout_s
    entity.network_timeout = address.response_timeout_s
    for sop_class in sorted(sop_classes)[:MAX_CONTEXTS]:
        entity.add_requested_context(sop_class, list(PROPOSED_SYNTAXES))
    association = entity.associate(
        address.host,
        address.port,
        ae_title=address.called_ae,
        evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)],
        tls_args=None if address.tls is None else (address.tls, address.host),
    )
    if association.is_established:
        return association
    where = f"{address.called_ae} at {address.host}:{address.port}"
    if association.is_rejected:
        raise Unreachable(f"{where} rejected the association: {_rejection(association)}")
    if association.acceptor.primitive is not None:
        raise NothingAccepted(f"{where} accepted none of the offered object types")
    raise Unreachable(f"{where} does not answer")


def _store(association: Association, one: Outgoing, message_id: int) -> Response:
    try:
        content = one.path.read_bytes()
    except OSError as error:
        return Response(
            answer=Answer.LATER, status=None, words=f"not sent: its file cannot be read ({error.strerror})"
        )
    if hashlib.sha256(content).hexdigest() != one.sha256:
        words = "not sent: its file is not the one that was written (the digest differs)"
        return Response(answer=Answer.REJECTED, status=None, words=words)
    dataset = dcmread(BytesIO(content))
    try:
        status: Dataset = association.send_c_store(dataset, msg_id=message_id)
    except ValueError as error:
        # pynetdicom raises before sending: no accepted context for this object, or it cannot be encoded.
        return Response(answer=Answer.REJECTED, status=None, words=f"not sent: {message_of(error)}")
    except RuntimeError:
        return judge(None)
    if "Status" not in status:
        return judge(None)
    # Some receivers name the patient in their comment.
    comment = patient_free(str(status.get("ErrorComment", "") or ""), dataset)
    return judge(int(status.Status), comment)


def _rejection(association: Association) -> str:
    primitive = association.acceptor.primitive
    with suppress(AttributeError, ValueError):
        return str(primitive.reason_str) if primitive is not None else "no reason given"
    return "no reason given"


def _without_delay(event: evt.Event) -> None:
    # Nagle's algorithm and delayed acknowledgements would hold every object for some 40 ms.
    transport = event.assoc.dul.socket
    connection = None if transport is None else transport.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
