"""Calling a DICOM peer from the command line: who is meant, and an association with it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from medk2n_node.config import Config
from medk2n_node.errors import PeerError, UsageError

_ADDRESS = re.compile(r"(?P<ae>[^@\\]{1,16})@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\s]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Whom to call."""

    name: str
    ae_title: str
    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


def find_peer(config: Config, name: str) -> Peer:
    """The peer of a destination's name or of AE@HOST:PORT; raises UsageError."""
    destination = config.destination(name)
    if destination is not None:
        return Peer(
            name=name,
            ae_title=destination.ae_title,
            host=destination.host,
            port=destination.port,
            tls=destination.tls,
        )
    address = _ADDRESS.fullmatch(name)
    if address is not None and 0 < int(address["port"]) < 65536:
        return Peer(
            name=name, ae_title=address["ae"], host=address["host"].strip("[]"), port=int(address["port"])
        )
    known = ", ".join(one.name for one in config.destinations) or "none is configured"
    raise UsageError(
        code="unknown_peer",
        subject=name,
        reason=f"this is neither a destination of the configuration ({known}) nor an address",
        cure="A valid example: ORTHANC@127.0.0.1:4242",
    )


@contextmanager
def association(
    config: Config,
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    on_store: Callable[[evt.Event], int] | None = None,
) -> Iterator[Association]:
    """An association with `peer` that is released at the end of the block.

    Args:
        contexts: what is proposed.
        roles: the classes of which we are the SCP in this association (C-GET).
        on_store: takes a C-STORE of the peer in it, gives its status.

    Raises:
        PeerError: there is no association.
    """
    handlers: list[tuple[evt.EventType, Callable[[evt.Event], Any]]] = [(evt.EVT_CONN_OPEN, _without_delay)]
    if on_store is not None:
        handlers.append((evt.EVT_C_STORE, on_store))
    entity = AE(ae_title=config.node.ae_title)
    entity.connection_timeout = config.delivery.connect_timeout_seconds
    entity.acse_timeout = config.delivery.response_timeout_seconds
    entity.dimse_timeout = config.delivery.response_timeout_seconds
    entity.network_timeout = config.delivery.response_timeout_seconds
    entity.requested_contexts = list(contexts)
    link = entity.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        ext_neg=list(roles),
        evt_handlers=handlers,  # type: ignore[arg-type]
        tls_args=(client_tls(config), peer.host) if peer.tls else None,
    )
    if not link.is_established:
        raise _no_association(peer, link)
    try:
        yield link
    finally:
        if link.is_established:
            link.release()


def client_tls(config: Config) -> ssl.SSLContext:
    """The client side of TLS: the configured authorities (else the system's), our certificate where there is one."""
    context = ssl.create_default_context(cafile=config.node.tls_authorities or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.node.tls_certificate:
        context.load_cert_chain(config.node.tls_certificate, config.node.tls_key)
    return context


def _no_association(peer: Peer, link: Association) -> PeerError:
    if link.is_rejected:
        answer = link.acceptor.primitive
        reason = str(getattr(answer, "reason_str", "")) or "no reason given"
        return PeerError(
            code="peer_rejected",
            subject=str(peer),
            reason=f"the peer rejected the association ({reason})",
            cure="Make our AE title known there, and check its AE title",
        )
    if link.acceptor.primitive is not None:
        return PeerError(
            code="peer_takes_nothing",
            subject=str(peer),
            reason="the peer accepted none of the object types that were offered",
            cure="Check which SOP classes and transfer syntaxes it takes",
        )
    return PeerError(
        code="peer_unreachable",
        subject=str(peer),
        reason="nothing answers there as a DICOM node",
        cure="Check address and port, that the peer is running, and that no firewall stands between",
    )


def _without_delay(event: evt.Event) -> None:
    # Nagle's algorithm and delayed acknowledgements would hold every object for some 40 ms.
    transport = event.assoc.dul.socket
    connection = None if transport is None else transport.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
