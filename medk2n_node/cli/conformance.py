"""`medk2n conformance`: the DICOM Conformance Statement (PS3.2) of this node, as configured."""

from __future__ import annotations

import struct
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, print_json

if TYPE_CHECKING:
    from dicom_rules.conformance import (
        Behaviour,
        Limit,
        ObjectContents,
        Rejection,
        Remote,
        SopClass,
        Syntax,
        Tables,
    )
    from medk2n_node.config import Config

# What peers notice of the configuration; the values come from what is in force.
_LIMITS = {
    "listener.max_associations": "associations open at once, in all",
    "listener.max_associations_per_host": "associations open at once, from one address",
    "listener.max_pdu_bytes": "largest PDU that is received, in bytes",
    "listener.negotiation_timeout_seconds": "how long a caller may take until its association stands",
    "listener.message_timeout_seconds": "how long a sender may fall silent within a message",
    "listener.idle_timeout_seconds": "how long an association may stay open between two messages",
    "listener.require_called_ae": "whether a caller must call the node by its AE title",
    "listener.duplicate_status": "the answer to other bytes under a known SOP Instance UID",
    "listener.disk_reserve_mb": "free disk space in MiB below which objects are refused",
    "delivery.connect_timeout_seconds": "how long connecting to a destination may take",
    "delivery.response_timeout_seconds": "how long one answer of a destination may take",
    "delivery.backoff_seconds": "wait before the second attempt; doubles with each further one",
    "delivery.backoff_max_seconds": "longest wait between two attempts",
    "delivery.give_up_hours": "after this time an object that is not taken is given up and shown as failed",
}
_MADE_BY = {"uncertainty": "uncertainty", "report": "report", "overlay": "overlay", "summary": "summary",
            "rejection": "reject_superseded"}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add `conformance` to the command line."""
    app.command()(conformance)


def conformance(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print the DICOM Conformance Statement (PS3.2) of this node as configured, in Markdown or with --json."""
    from dicom_rules.conformance import to_markdown

    document = document_of(configuration(context))
    if as_json:
        print_json(document)
    else:
        print(to_markdown(document), end="")


def document_of(config: Config) -> dict[str, Any]:
    """The statement of a node with this configuration, as plain values."""
    from dicom_rules.conformance import statement

    return statement(collect(config))


def collect(config: Config) -> Tables:
    """The tables that the node works by: negotiation, statuses, encoders, configuration."""
    from dicom_rules.conformance import Tables, private_attributes
    from medk2n_node.listener import negotiation
    from medk2n_node.store import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION

    return Tables(
        product="medk2n",
        version=version("medk2n"),
        standard="DICOM PS3.2",
        implementation_uid=IMPLEMENTATION_UID,
        implementation_version=IMPLEMENTATION_VERSION,
        application_context=negotiation.APPLICATION_CONTEXT,
        ae_title=config.node.ae_title,
        address=config.node.host,
        port=config.node.port,
        tls_port=config.node.tls_port,
        client_certificates=bool(config.node.tls_authorities),
        max_pdu_bytes=config.listener.max_pdu_bytes,
        received=_received(),
        received_rule="Storage classes that a later edition of the standard brings and private ones are taken as "
        "well, so that a whole study can be routed to the node.",
        accepted_syntaxes=_accepted(next(iter(sorted(negotiation.NAMED_STORAGE)))),
        verification_syntaxes=_accepted(negotiation.VERIFICATION),
        preference="Of what a context offers, the first of the uncompressed ones below is taken, else the compressed "
        "one that the sender names first:",
        refused_syntaxes_rule="A context that offers only lossy, deflated or big endian transfer syntaxes is "
        "refused (transfer syntaxes not supported): the node never takes pixels that were made worse for it.",
        proposed_syntaxes=_proposed(),
        rejections=_rejections(),
        answers=_answers(),
        readings=_readings(),
        limits=_limits(config),
        remotes=_remotes(config),
        kinds=_kinds(config),
        asked=_asked(),
        objects=_objects(),
        used=_used(),
        private_used=private_attributes(),
        character_sets=_character_sets(),
        commitment=False,
    )


def _named(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name


def _received() -> tuple[SopClass, ...]:
    from dicom_rules.conformance import SopClass
    from medk2n_node.listener import negotiation

    taken = [
        uid for uid in (negotiation.VERIFICATION, *negotiation.NAMED_STORAGE) if negotiation.is_taken(uid)
    ]
    echo = negotiation.VERIFICATION  # `medk2n echo` and `medk2n doctor` use it
    rows = [SopClass(uid=uid, name=_named(uid), user=uid == echo, provider=True) for uid in taken]
    return tuple(sorted(rows, key=lambda one: (one.uid != negotiation.VERIFICATION, one.name)))


def _asked() -> tuple[SopClass, ...]:
    from dicom_rules.conformance import SopClass
    from medk2n_node.cli.train.pull import QUERY, RETRIEVE

    return tuple(
        SopClass(uid=str(uid), name=_named(str(uid)), user=True, provider=False) for uid in (QUERY, RETRIEVE)
    )


def _accepted(sop_class: str) -> tuple[Syntax, ...]:
    """What the negotiation picks, asked again and again without what it picked before."""
    from pynetdicom import ALL_TRANSFER_SYNTAXES

    from dicom_rules.conformance import Syntax
    from medk2n_node.listener import negotiation

    offered = sorted(str(syntax) for syntax in ALL_TRANSFER_SYNTAXES)
    found = []
    while (chosen := negotiation.choose_transfer_syntax(sop_class, offered)) is not None:
        found.append(Syntax(uid=chosen, name=_named(chosen)))
        offered.remove(chosen)
    return tuple(found)


def _proposed() -> tuple[Syntax, ...]:
    from dicom_rules.conformance import Syntax
    from medk2n_node.delivery.scu import PROPOSED_SYNTAXES

    return tuple(Syntax(uid=str(syntax), name=syntax.name) for syntax in PROPOSED_SYNTAXES)


def _rejections() -> tuple[Rejection, ...]:
    from dicom_rules.conformance import Rejection
    from medk2n_node.listener import negotiation

    foreign = negotiation.Request(
        calling_ae="A", called_ae="B", application_context="1.2", contexts=(), fixed=bytes(68)
    )
    other_context = negotiation.answer(foreign, max_pdu_bytes=0)
    cases = [
        (negotiation.calling_ae_not_recognised(""), "no caller of that AE title and address is configured, or it must "
         "use TLS and does not"),
        (negotiation.called_ae_not_recognised(""), "it calls another AE title, and `require_called_ae` is set"),
        (other_context, "the application context is not that of DICOM"),
        (negotiation.local_limit_exceeded(""), "as many associations as allowed are open, or the listener stops"),
        (negotiation.temporary_congestion(""), "the database takes no rows at present"),
    ]  # fmt: skip
    rows = []
    for refusal, when in cases:
        # The A-ASSOCIATE-RJ itself (PS3.8 section 9.3.4): three bytes at the end.
        result, source, reason = struct.unpack(">BBB", refusal.answer[-3:])
        rows.append(Rejection(result=result, source=source, reason=reason, when=when))
    return tuple(rows)


def _answers() -> tuple[Behaviour, ...]:
    from dicom_rules.conformance import Behaviour
    from medk2n_node.listener.statuses import ANSWERS

    return tuple(
        Behaviour(code=f"{status:04X}", meaning=meaning, behaviour=when) for status, meaning, when in ANSWERS
    )


def _readings() -> tuple[Behaviour, ...]:
    from dicom_rules.conformance import Behaviour
    from medk2n_node.delivery.statuses import REJECTED_ATTEMPTS, Answer, readings

    then = {
        Answer.ACCEPTED: "counts as delivered",
        Answer.LATER: "sent again after a wait, until the time to give up",
        Answer.DECLINED: "not sent: an object that goes along with a series, of a class that the destination refused",
        Answer.REJECTED: f"sent again at most {REJECTED_ATTEMPTS} times in all, then shown as failed",
    }
    return tuple(
        Behaviour(code=code, meaning=response.words, behaviour=then[response.answer])
        for code, response in readings()
    )


def _limits(config: Config) -> tuple[Limit, ...]:
    from dicom_rules.conformance import Limit

    rows = []
    for key, meaning in _LIMITS.items():
        section, name = key.split(".")
        value = getattr(getattr(config, section), name)
        shown = (
            str(value).lower()
            if isinstance(value, bool)
            else f"{value:g}"
            if isinstance(value, float)
            else value
        )
        rows.append(Limit(key=f"[{section}] {name}", value=str(shown), meaning=meaning))
    return tuple(rows)


def _remotes(config: Config) -> tuple[Remote, ...]:
    from dicom_rules.conformance import Remote

    callers = [
        Remote(
            role="caller", name="", ae_title=one.ae_title, address=", ".join(one.hosts) or "any", tls=one.tls
        )
        for one in config.peers
    ]
    destinations = [
        Remote(
            role="destination", name=one.name, ae_title=one.ae_title, address=f"{one.host}:{one.port}",
            tls=one.tls, sends=tuple(one.send),
        )
        for one in config.destinations
    ]  # fmt: skip
    return (*callers, *destinations)


def _kinds(config: Config) -> dict[str, bool]:
    made = {kind: bool(getattr(config.results, key)) for kind, key in _MADE_BY.items()}
    made["enhanced"] = any(one.enhanced for one in config.destinations)
    return {"series": True, **made}


@cache
def _objects() -> tuple[ObjectContents, ...]:
    from dicom_rules.conformance import MADE, ObjectContents, contents, example_objects

    examples = example_objects()
    return tuple(
        ObjectContents(
            title=made.title, kind=made.kind, when=made.when,
            sop_class_uid=str(examples[made.kind][0][1].SOPClassUID),
            sop_class_name=_named(str(examples[made.kind][0][1].SOPClassUID)),
            templates=made.templates, attributes=contents(examples[made.kind]),
        )
        for made in MADE
    )  # fmt: skip


def _used() -> Any:
    from dicom_rules.conformance import keywords_in, keywords_of, used_attributes
    from medk2n_node.store.structure import WANTED

    reading = files("medk2n_node").joinpath("study", "reading.py").read_text(encoding="utf-8")
    return used_attributes({"filing": keywords_of(set(WANTED)), "study": keywords_in(reading, loads=True)})


def _character_sets() -> tuple[tuple[str, str], ...]:
    from pydicom.charset import python_encoding

    return tuple(
        (term or "(absent: ISO_IR 6)", encoding)
        for term, encoding in sorted(python_encoding.items())
        if not term or term.startswith(("ISO_IR", "ISO 2022 IR", "GB"))
    )
