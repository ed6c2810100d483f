"""What the names of a series suggest: the weakest evidence, in many languages.

Names are read from Series Description and Protocol Name; the study's and the procedure's words only tell the body
part, for "brain without and with contrast" says nothing about one series.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_SEPARATORS = re.compile(r"[\s_\-./\\,;:()\[\]{}<>|=#&'\"^~]+")
_GLUED_AGENT = re.compile(r"\+\s*(c|gd|km|mdc|ce|k)\b")
_DIRECTIONS = re.compile(r"\b\d+\s?dir(s|ection|ections|ektionen)?\b|\bdir\d+\b")
LAST_LATIN_LETTER = 0x24F
_B_VALUE = re.compile(r"(?<![a-z0-9])s?b\s?=?\s?(\d{2,5})(?![0-9])")


@dataclass(frozen=True, kw_only=True)
class Names:
    """What was found; each entry is (what, the word that said it)."""

    contrasts: Mapping[str, str]
    kinds: Mapping[str, str]
    agent_given: str
    agent_none: str
    head: str
    elsewhere: str
    own_head: str
    own_spine: str
    b_values: tuple[int, ...]
    motion: str = ""
    repeat: str = ""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    words: tuple[str, ...]
    parts: tuple[str, ...]

    def found_in(self, padded: str) -> str:
        """The first word or part that occurs in the normalised text, or empty."""
        for word in self.words:
            if f" {word} " in padded:
                return word
        return next((part for part in self.parts if part in padded), "")


def normalised(name: str) -> str:
    """Lower case without accents, separators to single blanks; "+c" and "t2*" stay words, a glued "+C" comes loose."""
    loose = _GLUED_AGENT.sub(lambda match: f" +{match.group(1)} ", _plain(name))
    return " ".join(_SEPARATORS.sub(" ", loose).split())


def _plain(name: str) -> str:
    """Lower case; full-width signs as ASCII, Latin letters without accents (sites write "Schädel" and "Schadel")."""
    wide = unicodedata.normalize("NFKC", name).lower()
    return "".join(_bare(letter) for letter in wide)


def _bare(letter: str) -> str:
    if ord(letter) > LAST_LATIN_LETTER:
        return letter  # the marks of kana and hangul are no accents
    return unicodedata.normalize("NFD", letter)[0]


def names_of(series_names: Iterable[str], *, wider_names: Iterable[str] = ()) -> Names:
    """Read the names of the series itself, and the body part also from the wider names of study and procedure."""
    own = f" {' '.join(normalised(name) for name in series_names)} "
    wide = f"{own}{' '.join(normalised(name) for name in wider_names)} "
    table = _table()
    kinds = _hits(table["kind"], own)
    directions = _DIRECTIONS.search(own)
    if directions:
        kinds.setdefault("diffusion", directions.group(0).strip())
    return Names(
        contrasts=_hits(table["contrast"], own),
        kinds=kinds,
        agent_given=_agent_given(table, own),
        agent_none=table["agent"]["none"].found_in(own),
        head=table["body"]["head"].found_in(wide),
        elsewhere=_elsewhere(wide),
        own_head=table["body"]["head"].found_in(own),
        own_spine=table["body"]["spine"].found_in(own),
        b_values=tuple(int(found) for found in _B_VALUE.findall(own)),
        motion=table["scan"]["motion"].found_in(own),
        repeat=table["scan"]["repeat"].found_in(own),
    )


def body_part(words: str) -> tuple[str, str]:
    """The (head, elsewhere) words in a stated body part; both empty when it names neither."""
    padded = f" {normalised(words)} "
    return _table()["body"]["head"].found_in(padded), _elsewhere(padded)


def _elsewhere(padded: str) -> str:
    body = _table()["body"]
    return body["spine"].found_in(padded) or body["elsewhere"].found_in(padded)


def _agent_given(table: Mapping[str, Mapping[str, _Entry]], padded: str) -> str:
    found = table["agent"]["given"].found_in(padded)
    # A lone letter only counts at the end of a name ("t1_mprage_sag_C"), where sites put it.
    if found == "c" and not padded.rstrip().endswith(" c"):
        given = table["agent"]["given"]
        others = _Entry(words=tuple(word for word in given.words if word != "c"), parts=given.parts)
        return others.found_in(padded)
    return found


def _hits(group: Mapping[str, _Entry], padded: str) -> dict[str, str]:
    return {what: word for what, entry in group.items() if (word := entry.found_in(padded))}


@cache
def _table() -> Mapping[str, Mapping[str, _Entry]]:
    content = tomllib.loads(files("dicom_rules.classify").joinpath("names.toml").read_text("utf-8"))
    return {
        group: {
            what: _Entry(
                words=tuple(dict.fromkeys(_plain(word) for word in entry["words"])),
                parts=tuple(dict.fromkeys(_plain(part) for part in entry["parts"])),
            )
            for what, entry in entries.items()
        }
        for group, entries in content.items()
    }
