"""Which attributes of received objects the rules look at, read off their own source.

The rules name every attribute that they read by its keyword, as a string, so the strings that are keywords are the
list. What the encoders only write they set as an attribute of a data set, which is no string.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib.resources import files

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from dicom_rules.classify.vendors import vendor_tables
from dicom_rules.conformance.tables import UsedAttribute

ROOMS: Mapping[str, str] = {
    "classify": "classification",
    "protocols": "planning",
    "geometry": "geometry",
    "derive": "results",
}
_OF_OUR_OWN_OBJECTS = frozenset({"enhanced.py", "envelope.py"})
"""Modules of the encoders whose keywords name attributes of what was just encoded."""


def keywords_in(source: str, *, loads: bool = False) -> set[str]:
    """The DICOM keywords among the strings of a module; `loads`: also those read as `header.Keyword`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        word = None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            word = node.value
        elif loads and isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            word = node.attr
        if word and word[:1].isupper() and tag_for_keyword(word) is not None:
            found.add(word)
    return found


def used_attributes(more: Mapping[str, set[str]]) -> tuple[UsedAttribute, ...]:
    """Every attribute with what it is used for; `more` are keywords that the caller knows of, by their use."""
    uses: dict[str, list[str]] = {}
    rooms = {use: _room(room) for room, use in ROOMS.items()}
    for use, keywords in [*more.items(), *rooms.items()]:
        for keyword in keywords:
            uses.setdefault(keyword, []).append(use)
    rows = []
    for keyword in sorted(uses, key=lambda keyword: tag_for_keyword(keyword) or 0):
        tag = Tag(keyword)
        rows.append(
            UsedAttribute(
                tag=f"({tag.group:04X},{tag.element:04X})",
                keyword=keyword,
                vr=dictionary_VR(tag),
                used_for=tuple(dict.fromkeys(uses[keyword])),
            )
        )
    return tuple(rows)


def private_attributes() -> tuple[str, ...]:
    """The private attributes of the vendor tables, as "(gggg,eeee) creator"."""
    tables = vendor_tables()
    rows = {(row.tag, row.creator) for row in tables.b_values if row.tag >> 16 & 1}
    rows |= {(tag, "") for tag in tables.sequence_name_tags if tag >> 16 & 1}
    return tuple(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {creator}".strip() for tag, creator in sorted(rows))


def keywords_of(tags: set[int]) -> set[str]:
    """The keywords of standard tags."""
    return {keyword for tag in tags if (keyword := keyword_for_tag(tag))}


def _room(room: str) -> set[str]:
    found: set[str] = set()
    for module in files("dicom_rules").joinpath(room).iterdir():
        if module.name.endswith(".py") and module.name not in _OF_OUR_OWN_OBJECTS:
            found |= keywords_in(module.read_text(encoding="utf-8"))
    return found
