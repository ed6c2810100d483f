"""What the statement is made of: rows of the node's own tables, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_rules.conformance.contents import ObjectContents


@dataclass(frozen=True, kw_only=True)
class SopClass:
    """A service-object pair class and the roles in which the node takes part."""

    uid: str
    name: str
    user: bool
    provider: bool


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """A transfer syntax."""

    uid: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """A status or event, what it means, and what the node then does. `code` is "0000", "A7xx" or a name."""

    code: str
    meaning: str
    behaviour: str


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An A-ASSOCIATE-RJ that the node sends (PS3.8 table 9-21), and when."""

    result: int
    source: int
    reason: int
    when: str


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A configured value that peers notice."""

    key: str
    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A configured peer: one that may call ("caller") or one that results are sent to ("destination")."""

    role: str
    name: str
    ae_title: str
    address: str
    tls: bool
    sends: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UsedAttribute:
    """An attribute of received objects that the node looks at, and for what."""

    tag: str
    keyword: str
    vr: str
    used_for: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Everything the statement states. `kinds` maps a kind of result to whether it is made as configured."""

    product: str
    version: str
    standard: str
    implementation_uid: str
    implementation_version: str
    application_context: str
    ae_title: str
    address: str
    port: int
    tls_port: int
    client_certificates: bool
    max_pdu_bytes: int
    received: tuple[SopClass, ...]
    received_rule: str
    asked: tuple[SopClass, ...]
    accepted_syntaxes: tuple[Syntax, ...]
    verification_syntaxes: tuple[Syntax, ...]
    preference: str
    refused_syntaxes_rule: str
    proposed_syntaxes: tuple[Syntax, ...]
    rejections: tuple[Rejection, ...]
    answers: tuple[Behaviour, ...]
    readings: tuple[Behaviour, ...]
    limits: tuple[Limit, ...]
    remotes: tuple[Remote, ...]
    kinds: Mapping[str, bool]
    objects: tuple[ObjectContents, ...]
    used: tuple[UsedAttribute, ...]
    private_used: tuple[str, ...]
    character_sets: tuple[tuple[str, str], ...]
    commitment: bool
