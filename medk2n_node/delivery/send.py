"""One turn of delivery: what is due for one revision at one destination is offered, and the ledger kept."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from medk2n_node.config import Config, DestinationSection
from medk2n_node.delivery import outbox
from medk2n_node.delivery.backoff import BackoffRules
from medk2n_node.delivery.scu import Address, Outgoing, Unreachable, send
from medk2n_node.delivery.statuses import Answer, Response
from medk2n_node.observe import get_logger
from medk2n_node.store import Store

log = get_logger("delivery")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What is left after a turn; `wait_s` is None when nothing is open any more."""

    open: int
    wait_s: float | None


def backoff_rules(config: Config) -> BackoffRules:
    """The retry rules in force."""
    return BackoffRules(
        first_seconds=config.delivery.backoff_seconds,
        longest_seconds=config.delivery.backoff_max_seconds,
        give_up_after=timedelta(hours=config.delivery.give_up_hours),
    )


def send_due(
    config: Config,
    store: Store,
    revision_id: int,
    destination: DestinationSection,
    clock: Callable[[], datetime],
) -> Turn:
    """Offer everything that is due; each answer is committed as it comes, so a crash repeats one object at most."""
    rules = backoff_rules(config)
    with store.reading() as session:
        objects = outbox.due(session, revision_id, destination.name, clock(), store.root)

    def keep(one: Outgoing, response: Response) -> None:
        with store.session() as session:
            outbox.record(
                session,
                one.sop_uid,
                destination.name,
                response,
                now=clock(),
                rules=rules,
                chance=random.random(),
            )
        if response.answer is not Answer.ACCEPTED:
            log.warning(
                "object not accepted",
                destination=destination.name,
                sop_uid=one.sop_uid,
                status=response.status,
                reason=response.words,
            )

    if objects:
        trouble = None
        try:
            if not send(address(config, destination), objects, keep):
                trouble = "the association ended before this object was offered"
        except Unreachable as error:
            trouble = str(error)
        if trouble is not None:
            log.warning("delivery interrupted", destination=destination.name, reason=trouble)
            with store.session() as session:
                outbox.postpone(
                    session,
                    revision_id,
                    destination.name,
                    trouble,
                    now=clock(),
                    rules=rules,
                    chance=random.random(),
                )
    with store.reading() as session:
        left = outbox.standing(session, revision_id, destination.name)
    if left.next_at is None:
        return Turn(open=0, wait_s=None)
    return Turn(open=left.open, wait_s=max(0.0, (left.next_at - clock()).total_seconds()))


def address(config: Config, destination: DestinationSection) -> Address:
    """Whom to call for a destination of the configuration."""
    return Address(
        name=destination.name,
        calling_ae=config.node.ae_title,
        called_ae=destination.ae_title,
        host=destination.host,
        port=destination.port,
        connect_timeout_s=config.delivery.connect_timeout_seconds,
        response_timeout_s=config.delivery.response_timeout_seconds,
        tls=_tls(config) if destination.tls else None,
    )


def _tls(config: Config) -> ssl.SSLContext:
    """The client side of DICOM TLS (PS3.15 B.12): verified peer, our certificate where one is configured."""
    context = ssl.create_default_context(cafile=config.node.tls_authorities or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.node.tls_certificate and config.node.tls_key:
        context.load_cert_chain(config.node.tls_certificate, config.node.tls_key)
    return context
