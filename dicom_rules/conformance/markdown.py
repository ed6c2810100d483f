"""The statement for people: Markdown in the order of PS3.2, every table from the document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

_REASONS = {  # PS3.8 table 9-21, as (source, reason)
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
_RESULTS = {1: "rejected permanently", 2: "rejected for now"}
_SOURCES = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}


def to_markdown(document: Document) -> str:
    """The statement as one Markdown page, ending with a newline."""
    parts = [
        _cover(document),
        _overview(document),
        _introduction(document),
        _networking(document),
        _media(document),
        _character_sets(document),
        _security(document),
        _annexes(document),
    ]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a bar inside a cell is written so that it stays one."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(cell: object) -> str:
    text = (
        {True: "yes", False: "no", None: ""}.get(cell, cell) if isinstance(cell, (bool, type(None))) else cell
    )
    return str(text).replace("|", "\\|").replace("\n", " ")


def _cover(document: Document) -> str:
    product = document["product"]
    return (
        "# DICOM Conformance Statement\n\n"
        f"{product['name']} {product['version']}. Written by `medk2n conformance` from the tables that the node works "
        f"by, after {product['standard']}. For research use only."
    )


def _overview(document: Document) -> str:
    services = document["overview"]["services"]
    sent = [one for one in services if one["user"]]
    received = [one for one in services if not one["user"]]
    return "\n\n".join(
        [
            "## 1 Overview",
            "The node receives the MR series of a study by C-STORE, makes the contrasts that it lacks, and "
            "sends the results to its destinations by C-STORE. It answers C-ECHO. It keeps no archive and "
            "provides no query or retrieve service. One command, `medk2n train scan --pull`, is a user of C-FIND and "
            "C-GET: it fetches MR studies to learn from.",
            "### 1.1 Network services",
            table(
                ["SOP class", "UID", "user (SCU)", "provider (SCP)"],
                [(one["name"], one["uid"], one["user"], one["provider"]) for one in sent],
            ),
            f"As a provider it takes {len(received)} further SOP classes, listed in section 3.2.2. "
            f"{document['overview']['received_rule']}",
            "### 1.2 Media services",
            "None.",
        ]
    )


def _introduction(document: Document) -> str:
    return "\n\n".join(
        [
            "## 2 Introduction",
            "For the people who connect the node to a PACS, a router or a scanner. It is to be read with the DICOM "
            "standard; conformance alone does not prove that two systems work together, so a connection has to be "
            "tested before it is used.",
            table(
                ["term", "meaning"],
                [
                    ("AE", "application entity: a DICOM node with its AE title"),
                    ("SCU, SCP", "user and provider of a service"),
                    (
                        "source, reference",
                        "the series that a result is made from; the one on whose grid it lies",
                    ),
                    ("revision", "the frozen set of objects of a study that results are made of"),
                ],
            ),
        ]
    )


def _networking(document: Document) -> str:
    net = document["networking"]
    entity, implementation = net["application_entity"], net["implementation"]
    return "\n\n".join(
        [
            "## 3 Networking",
            "### 3.1 Implementation model",
            "One application entity with two activities. **Receiving**: associations are accepted, each object is "
            "written to disk as it was sent and indexed before it is answered. **Sending**: when a study has settled "
            "and results were made of it, one association per destination is opened and the results are sent; each "
            "answer is kept in a ledger. Real-world activity: the arrival of a study starts both; nobody has to ask.",
            "### 3.2 Application entity",
            table(
                ["property", "value"],
                [
                    ("AE title", entity["ae_title"]),
                    ("address and port", f"{entity['address']}:{entity['port']}"),
                    ("port for TLS", entity["tls_port"] or "none configured"),
                    ("implementation class UID", implementation["implementation_class_uid"]),
                    ("implementation version name", implementation["implementation_version_name"]),
                    ("application context", implementation["application_context"]),
                    ("largest PDU received", f"{entity['max_pdu_bytes']} bytes"),
                    ("asynchronous operations", "none: one operation at a time on each association"),
                    (
                        "SOP class extended negotiation",
                        "none; storage is level 2 (full), no element is coerced",
                    ),
                    ("user identity negotiation", "none"),
                ],
            ),
            _association_policy(net),
            _acceptor(net["acceptor"]),
            _initiator(net["initiator"]),
            "#### 3.2.4 Storage commitment",
            net["storage_commitment"]["words"],
            "### 3.3 Network interfaces",
            "TCP/IP over IPv4 or IPv6, through the interfaces of the operating system.",
            _configuration(net),
        ]
    )


def _association_policy(net: Document) -> str:
    rejections = [
        (
            f"{one['result']} {_RESULTS.get(one['result'], '')}",
            f"{one['source']} {_SOURCES.get(one['source'], '')}",
            f"{one['reason']} {_REASONS.get((one['source'], one['reason']), '')}",
            one["when"],
        )
        for one in net["acceptor"]["rejections"]
    ]
    return "\n\n".join(
        [
            "#### 3.2.1 Association policies",
            "Several associations are served at once, each on its own. The node opens associations to its destinations "
            "alone, at most one to each at a time, and releases them when everything that was due has been offered.",
            table(
                ["key", "value", "meaning"],
                [(f"`{one['key']}`", one["value"], one["meaning"]) for one in net["limits"]],
            ),
            "An association is rejected in these cases:",
            table(["result", "source", "reason", "when"], rejections),
        ]
    )


def _acceptor(acceptor: Document) -> str:
    groups: dict[tuple[str, ...], list[Document]] = {}
    for one in acceptor["presentation_contexts"]:
        key = tuple(syntax["uid"] for syntax in one["transfer_syntaxes"])
        groups.setdefault(key, []).append(one)
    parts = ["#### 3.2.2 Receiving: Verification and Storage as a provider"]
    for members in groups.values():
        syntaxes = members[0]["transfer_syntaxes"]
        parts.append(f"Transfer syntaxes. {acceptor['preference']}")
        parts.append(table(["transfer syntax", "UID"], [(one["name"], one["uid"]) for one in syntaxes]))
        parts.append("for these SOP classes:")
        parts.append(
            table(
                ["SOP class", "UID"],
                [(one["sop_class"]["name"], one["sop_class"]["uid"]) for one in members],
            )
        )
    parts += [
        acceptor["refused_syntaxes_rule"],
        "Statuses that the node answers:",
        table(
            ["status", "meaning", "when, and what happens"],
            [(one["code"], one["meaning"], one["behaviour"]) for one in acceptor["statuses"]],
        ),
    ]
    return "\n\n".join(parts)


def _initiator(initiator: Document) -> str:
    contexts = initiator["presentation_contexts"]
    syntaxes = contexts[0]["transfer_syntaxes"] if contexts else []
    return "\n\n".join(
        [
            "#### 3.2.3 Sending: Storage as a user",
            "One presentation context for each SOP class that is sent, with these transfer syntaxes in this order:",
            table(["transfer syntax", "UID"], [(one["name"], one["uid"]) for one in syntaxes]),
            table(
                ["object", "SOP class", "when", "made as configured"],
                [
                    (f"`{one['kind']}`", f"{one['sop_class']['name']} {one['sop_class']['uid']}", one["when"],
                     one["made_as_configured"])
                    for one in contexts
                ],
            ),
            "What the node makes of the answer to a C-STORE:",
            table(
                ["status", "meaning", "what happens"],
                [(one["code"], one["meaning"], one["behaviour"]) for one in initiator["statuses"]],
            ),
        ]
    )  # fmt: skip


def _configuration(net: Document) -> str:
    rows = [
        (
            one["role"],
            one["name"],
            one["ae_title"],
            one["address"],
            one["tls"],
            ", ".join(one["sends"]),
        )
        for one in net["remotes"]
    ]
    remotes = (
        table(["role", "name", "AE title", "address", "TLS", "gets"], rows)
        if rows
        else "No remote application entity is configured: only callers on this machine are let in, and results stay in "
        "the storage folder."
    )
    return "\n\n".join(
        [
            "### 3.4 Configuration",
            "AE titles, addresses and limits stand in one file, `node.toml`; `medk2n config show` prints what is in "
            "force.",
            remotes,
        ]
    )


def _media(document: Document) -> str:
    return f"## 4 Media interchange\n\n{document['media']['words']}"


def _character_sets(document: Document) -> str:
    return "\n\n".join(
        [
            "## 5 Character sets",
            "Received objects are kept byte for byte, whatever their character set. A result repeats the Specific "
            "Character Set (0008,0005) of its source where all its text survives in that, else it is written in "
            "ISO_IR 192 (UTF-8). Understood are:",
            table(
                ["defined term", "encoding"],
                [(one["term"], one["name"]) for one in document["character_sets"]],
            ),
        ]
    )


def _security(document: Document) -> str:
    security = document["security"]
    callers = (
        "Callers are admitted by AE title and address."
        if security["callers_are_listed"]
        else "As no caller is configured, only callers on this machine are admitted."
    )
    if security["tls"]:
        asked = "required" if security["client_certificates"] else "not asked for"
        tls = f"A second port speaks TLS; client certificates are {asked}."
    else:
        tls = "No TLS port is configured."
    return "\n\n".join(
        [
            "## 6 Security",
            "TLS follows PS3.15 annex B.12 (BCP 195): version 1.2 at least, 1.3 preferred, on a port of its own; there "
            f"is no upgrade of a plain connection. {tls} {callers} Towards a destination with `tls = true` its "
            "certificate is verified. No audit messages are sent, and no object is encrypted or signed.",
            "Logs and the database hold UIDs and AE titles and no attribute of a patient; the database tells two "
            "patients under one study apart by a salted digest.",
        ]
    )


def _annexes(document: Document) -> str:
    parts = [
        "## 7 Annexes",
        "### 7.1 Contents of the objects that the node makes",
        "Presence: ALWAYS, or ANAP (not always present: only where the source states it or the case occurs). Source of "
        "the value: COPIED from the source object, FIXED, EMPTY, AUTO (generated by the node), ITEMS (a sequence whose "
        "first item follows). Each table is read off objects that the encoders wrote from three different sources.",
    ]
    for number, one in enumerate(document["objects"], start=1):
        templates = f" Templates: {', '.join(one['templates'])}." if one["templates"] else ""
        parts += [
            f"#### 7.1.{number} {one['title']}: {one['sop_class_name']}",
            f"{one['sop_class_uid']}. {one['when'][:1].upper()}{one['when'][1:]}.{templates}",
            table(
                ["tag", "attribute", "VR", "presence", "source", "value"],
                [
                    (f"{'>' * row['depth']}{row['tag']}", row["name"], row["vr"], row["presence"], row["source"],
                     row["value"])
                    for row in one["attributes"]
                ],
            ),
        ]  # fmt: skip
    parts += [
        "### 7.2 Attributes of received objects that the node uses",
        "All others are kept and not looked at. No attribute needs to be present for an object to be received; a "
        "series that lacks what a decision needs is left out of it, with the reason.",
        table(
            ["tag", "attribute", "VR", "used for"],
            [
                (one["tag"], one["keyword"], one["vr"], ", ".join(one["used_for"]))
                for one in document["attributes_used"]
            ],
        ),
        "Private attributes that are looked at: "
        + (", ".join(document["private_attributes_used"]) or "none")
        + ".",
        "### 7.3 Private attributes, SOP classes and transfer syntaxes",
        "The node writes none.",
    ]
    return "\n\n".join(parts)
