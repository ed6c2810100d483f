"""What a site allows, and the protocols that say what an examination should have."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from dicom_rules import CONTRASTS
from dicom_rules.errors import ProtocolError

KEYS = ("name", "matches", "expects")
EXAMPLE = 'name = "brain tumour", matches = ["glioma"], expects = ["T1", "T1C", "T2", "FLAIR"]'
SHIPPED = ("tumour.toml", "stroke.toml", "ms.toml", "general.toml")
"""In the order in which they are tried; the last one takes every study."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One kind of examination: the words that call for it, and the contrasts it should have."""

    name: str
    expects: tuple[str, ...]
    matches: tuple[str, ...] = ()

    def called_by(self, padded_names: str) -> str:
        """The word in the names that calls for this protocol; empty when none does."""
        return next(
            (word for word in self.matches if f" {word} " in padded_names or _inside(word, padded_names)), ""
        )


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
    """Read a site's file of `[[protocol]]` tables, or one protocol at the top; ProtocolError names what is wrong."""
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise _refused(source, f"it is no valid TOML: {error}") from error
    tables = document.get("protocol", [document])
    if not isinstance(tables, list) or not tables:
        raise _refused(source, "it holds no [[protocol]] table")
    return tuple(_protocol(source, number, table) for number, table in enumerate(tables, start=1))


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
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        raise _refused(subject, f'the key "{unknown[0]}" is unknown; known are {", ".join(KEYS)}')
    name, expects = table.get("name"), table.get("expects")
    if not isinstance(name, str) or not name.strip():
        raise _refused(subject, "it has no name")
    expected = _words(subject, "expects", expects)
    wrong = [contrast for contrast in expected if contrast not in CONTRASTS]
    if wrong or not expected:
        what = f'expects names "{wrong[0]}"' if wrong else "expects is empty"
        raise _refused(subject, f"{what}; the contrasts are {', '.join(CONTRASTS)}")
    matches = _words(subject, "matches", table.get("matches", []))
    return Protocol(name=name, expects=expected, matches=tuple(word.lower() for word in matches))


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
