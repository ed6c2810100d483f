"""The allow-list: which caller may come in from where."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from medk2n_node.config import PeerSection


def why_not(calling_ae: str, address: str, *, over_tls: bool, peers: Sequence[PeerSection]) -> str | None:
    """None when the caller may come in, else the reason in words.

    Without any peer configured only callers on this machine come in, under any AE title: enough to try the
    node out, and safe when it is bound to a network before its peers are written down.
    """
    host = _host(address)
    if not peers:
        if host.is_loopback:
            return None
        return f"no peers are configured, so only this machine may call; {address} is another one"
    named = [peer for peer in peers if peer.ae_title == calling_ae]
    if not named:
        return f"no peer with the AE title {calling_ae!r} is configured"
    from_there = [peer for peer in named if not peer.hosts or any(_contains(net, host) for net in peer.hosts)]
    if not from_there:
        return f"the peer {calling_ae!r} may not call from {address}"
    if not over_tls and all(peer.tls for peer in from_there):
        return f"the peer {calling_ae!r} must use TLS"
    return None


def _host(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    host = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(host, "ipv4_mapped", None)
    return mapped or host


def _contains(network: str, host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    parsed = ipaddress.ip_network(network, strict=False)
    return parsed.version == host.version and host in parsed
