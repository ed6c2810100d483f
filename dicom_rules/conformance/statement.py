"""The tables as one document of plain values, in the order of a conformance statement (PS3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dicom_rules.conformance.tables import SopClass, Syntax, Tables

NO_COMMITMENT = (
    "The node is no provider of storage commitment: it is no archive, and a sender must not delete its images because "
    "the node has received them. It does not ask for storage commitment either; an object counts as delivered when the "
    "destination answered its C-STORE with success or a warning."
)


def statement(tables: Tables) -> dict[str, Any]:
    """The statement as values that JSON can hold; `to_markdown` writes it for people."""
    made = list(tables.objects)
    own_classes = {one.sop_class_uid for one in made}
    return {
        "product": {"name": tables.product, "version": tables.version, "standard": tables.standard},
        "overview": {
            "services": [_service(one) for one in _services(tables, own_classes)],
            "received_rule": tables.received_rule,
            "media": "none",
        },
        "networking": {
            "implementation": {
                "implementation_class_uid": tables.implementation_uid,
                "implementation_version_name": tables.implementation_version,
                "application_context": tables.application_context,
            },
            "application_entity": {
                "ae_title": tables.ae_title,
                "address": tables.address,
                "port": tables.port,
                "tls_port": tables.tls_port or None,
                "max_pdu_bytes": tables.max_pdu_bytes,
            },
            "acceptor": {
                "presentation_contexts": [
                    {
                        "sop_class": _service(one),
                        "transfer_syntaxes": _syntaxes(_syntaxes_of(tables, one)),
                    }
                    for one in tables.received
                ],
                "preference": tables.preference,
                "refused_syntaxes_rule": tables.refused_syntaxes_rule,
                "rejections": [asdict(one) for one in tables.rejections],
                "statuses": [asdict(one) for one in tables.answers],
            },
            "initiator": {
                "presentation_contexts": [
                    {
                        "sop_class": {"uid": one.sop_class_uid, "name": one.sop_class_name},
                        "kind": one.kind,
                        "when": one.when,
                        "made_as_configured": tables.kinds.get(one.kind, False),
                        "transfer_syntaxes": _syntaxes(tables.proposed_syntaxes),
                    }
                    for one in made
                ],
                "statuses": [asdict(one) for one in tables.readings],
            },
            "storage_commitment": {
                "user": tables.commitment,
                "provider": False,
                "words": "" if tables.commitment else NO_COMMITMENT,
            },
            "limits": [asdict(one) for one in tables.limits],
            "remotes": [asdict(one) for one in tables.remotes],
        },
        "media": {"profiles": [], "words": "No media service class is supported."},
        "character_sets": [{"term": term, "name": name} for term, name in tables.character_sets],
        "security": {
            "tls": bool(tables.tls_port),
            "client_certificates": tables.client_certificates,
            "callers_are_listed": any(one.role == "caller" for one in tables.remotes),
        },
        "objects": [asdict(one) for one in made],
        "attributes_used": [asdict(one) for one in tables.used],
        "private_attributes_used": list(tables.private_used),
    }


def _services(tables: Tables, own_classes: set[str]) -> list[SopClass]:
    """What is received and what is sent as one list, what we send first."""
    rows = {one.uid: one for one in (*tables.received, *tables.asked)}
    for one in tables.objects:
        known = rows.get(one.sop_class_uid)
        rows[one.sop_class_uid] = SopClass(
            uid=one.sop_class_uid,
            name=one.sop_class_name,
            user=True,
            provider=known is not None and known.provider,
        )
    return sorted(rows.values(), key=lambda one: (one.uid not in own_classes, not one.user, one.name))


def _service(one: SopClass) -> dict[str, Any]:
    return {"uid": one.uid, "name": one.name, "user": one.user, "provider": one.provider}


def _syntaxes_of(tables: Tables, one: SopClass) -> Sequence[Syntax]:
    return tables.verification_syntaxes if one.name.startswith("Verification") else tables.accepted_syntaxes


def _syntaxes(syntaxes: Sequence[Syntax]) -> list[dict[str, str]]:
    return [{"uid": one.uid, "name": one.name} for one in syntaxes]
