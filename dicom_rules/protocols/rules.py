"""What a site allows, and the protocols that say what an examination should have."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from dicom_rules import CONTRASTS
from dicom_rules.classify import normalised
from dicom_rules.errors import ProtocolError

KEYS = ("name", "matches", "codes", "body_parts", "sites", "expects", "sources", "requires")
EXAMPLE = (
    'name = "brain tumour", matches = ["glioma"], expects = ["T1", "T1C", "T2", "FLAIR"], '
    'sources = { FLAIR = ["T1", "T2"] }, requires = { T1C = ["T1"] }'
)
SHIPPED = ("tumour.toml", "stroke.toml", "epilepsy.toml", "ms.toml", "general.toml")
"""In the order in which they are tried; the last one takes every study."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is known of a study before its images are looked at, as the protocols see it.

    `names` are the normalised names of study, request and series between blanks; `codes` "SCHEME:VALUE";
    `body_parts` upper case; `sites` the names of stations and institutions.
    """

    names: str
    codes: frozenset[str] = frozenset()
    body_parts: frozenset[str] = frozenset()
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One kind of examination: what calls for it, which contrasts it should have, and what may be made of what.

    Any of `matches`, `codes` and `body_parts` calls for it; with none of them it takes every study. `sites` are
    patterns of Station Name or Institution Name that have to be found besides, where given. `sources[target]` are
    the only contrasts of which the target may be made, `requires[target]` those that must be among them.
    """

    name: str
    expects: tuple[str, ...]
    matches: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    sites: tuple[re.Pattern[str], ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def takes_every_study(self) -> bool:
        """Whether nothing has to call for it."""
        return not (self.matches or self.codes or self.body_parts)

    def called_by(self, examination: Examination) -> str:
        """Why this protocol applies, as half a sentence; empty when it does not."""
        where = ""
        if self.sites:
            found = next(
                (site for site in examination.sites if any(one.search(site) for one in self.sites)), None
            )
            if found is None:
                return ""
            where = f' at "{found}"'
        word = next(
            (
                word
                for word in self.matches
                if f" {word} " in examination.names or _inside(word, examination.names)
            ),
            "",
        )
        if word:
            return f'the names of the study say "{word}"{where}'
        code = next((code for code in self.codes if code in examination.codes), "")
        if code:
            return f"the procedure is coded {code}{where}"
        part = next((part for part in self.body_parts if part in examination.body_parts), "")
        if part:
            return f'the body part is "{part}"{where}'
        if self.takes_every_study:
            return f"nothing names a special examination{where}"
        return ""


def _shipped() -> tuple[Protocol, ...]:
    return shipped_protocols()


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """What may be made, of what at least. A high-risk contrast is made only when `allowed` names it."""

    allowed: tuple[str, ...] = ("T1", "T2", "FLAIR")
    high_risk: tuple[str, ...] = ("T1C", "DWI", "ADC")
    min_sources: int = 1
    min_confidence: float = 0.5
    """A series classified with less is not used and not counted as present."""
    min_coverage_mm: float = 30.0
    """A stack that covers less is a slab (inner ear, pituitary), no examination of the brain."""
    protocols: tuple[Protocol, ...] = field(default_factory=_shipped)


def protocols_from_toml(content: str, *, source: str) -> tuple[Protocol, ...]:
    """Read a file of `[[protocol]]` tables, or one protocol at the top.

    Raises ProtocolError that names the file, the entry and the key, with a valid example.
    """
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise _refused(source, f"it is no valid TOML: {error}") from error
    tables = document.get("protocol", [document])
    if not isinstance(tables, list) or not tables:
        raise _refused(source, "it holds no [[protocol]] table")
    others = sorted(set(document) - {"protocol"}) if "protocol" in document else []
    if others:
        raise _refused(source, f'the key "{others[0]}" stands outside a [[protocol]] table')
    found = tuple(_protocol(source, number, table) for number, table in enumerate(tables, start=1))
    for number, one in enumerate(found, start=1):
        if one.name in [other.name for other in found[: number - 1]]:
            raise _refused(f"{source}, protocol {number}", f'a second protocol is named "{one.name}"')
    return found


@cache
def shipped_protocols() -> tuple[Protocol, ...]:
    """The protocols that come with the package."""
    folder = files("dicom_rules.protocols")
    return tuple(
        protocol
        for name in SHIPPED
        for protocol in protocols_from_toml(folder.joinpath(name).read_text("utf-8"), source=name)
    )


def _protocol(source: str, number: int, table: Any) -> Protocol:
    subject = f"{source}, protocol {number}"
    if not isinstance(table, dict):
        raise _refused(subject, "it is not a table")
    name = table.get("name")
    if isinstance(name, str) and name.strip():
        subject = f'{subject} ("{name}")'
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        near = difflib.get_close_matches(unknown[0], KEYS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(KEYS)}"
        raise _refused(subject, f'the key "{unknown[0]}" is unknown{hint}')
    if not isinstance(name, str) or not name.strip():
        raise _refused(subject, "it has no name")
    expected = _contrasts(subject, "expects", table.get("expects"))
    if not expected:
        raise _refused(subject, f"expects is empty; the contrasts are {', '.join(CONTRASTS)}")
    return Protocol(
        name=name,
        expects=expected,
        matches=tuple(normalised(word) for word in _words(subject, "matches", table.get("matches", []))),
        codes=_codes(subject, table.get("codes", [])),
        body_parts=tuple(word.upper() for word in _words(subject, "body_parts", table.get("body_parts", []))),
        sites=_patterns(subject, table.get("sites", [])),
        sources=_by_target(subject, "sources", table.get("sources", {})),
        requires=_by_target(subject, "requires", table.get("requires", {})),
    )


def _by_target(subject: str, key: str, value: Any) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise _refused(subject, f"{key} is not a table of targets")
    _contrasts(subject, key, list(value))
    found = {target: _contrasts(subject, f"{key}.{target}", names) for target, names in value.items()}
    for target, names in found.items():
        if not names or target in names:
            what = "is empty" if not names else f"names {target} itself"
            raise _refused(subject, f"{key}.{target} {what}")
    return found


def _contrasts(subject: str, key: str, value: Any) -> tuple[str, ...]:
    found = _words(subject, key, value)
    wrong = [contrast for contrast in found if contrast not in CONTRASTS]
    if wrong:
        raise _refused(subject, f'{key} names "{wrong[0]}"; the contrasts are {", ".join(CONTRASTS)}')
    return found


def _codes(subject: str, value: Any) -> tuple[str, ...]:
    found = _words(subject, "codes", value)
    wrong = [code for code in found if not re.fullmatch(r"[^:]+:[^:]+", code)]
    if wrong:
        raise _refused(subject, f'codes holds "{wrong[0]}", which is not SCHEME:VALUE (such as "LN:24590-2")')
    return found


def _patterns(subject: str, value: Any) -> tuple[re.Pattern[str], ...]:
    found = []
    for pattern in _words(subject, "sites", value):
        try:
            found.append(re.compile(pattern, re.IGNORECASE))
        except re.error as error:
            raise _refused(
                subject, f'sites holds "{pattern}", which is no regular expression ({error})'
            ) from error
    return tuple(found)


def _words(subject: str, key: str, value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(one, str) for one in value)
    ):
        raise _refused(subject, f"{key} is not a list of words")
    return tuple(value)


def _inside(word: str, names: str) -> bool:
    """Scripts without blanks between words: the word may stand anywhere."""
    return not word.isascii() and word in names


def _refused(subject: str, reason: str) -> ProtocolError:
    return ProtocolError(
        code="bad_protocol", subject=subject, reason=reason, cure=f"A valid protocol is {EXAMPLE}"
    )
