"""What an object of ours contains, read off examples that the encoder wrote from different sources.

An attribute that all examples hold is always present; one whose value the examples share is fixed; one that follows
the source's attribute of the same name is copied; every other value is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_description, dictionary_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

ALWAYS, SOMETIMES = "ALWAYS", "ANAP"  # PS3.2: always present; attribute not always present
COPIED, FIXED, EMPTY, GENERATED, ITEMS = "COPIED", "FIXED", "EMPTY", "AUTO", "ITEMS"
LONGEST = 72
DEEPEST = 3
TOLD = frozenset({"CS", "DS", "IS", "LO", "SH", "ST", "LT", "US", "FL", "FD"})
"""Value representations of which an example of a generated value tells something."""

BULK = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(frozen=True, kw_only=True)
class StatedAttribute:
    """One attribute of an object: `depth` 0 is the data set, 1 an item in it.

    `value` is the value where it is fixed, an example where it is generated, else empty.
    """

    depth: int
    tag: str
    name: str
    vr: str
    presence: str
    source: str
    value: str


@dataclass(frozen=True, kw_only=True)
class ObjectContents:
    """One kind of object that the node makes. `kind` is its name in the configuration, `when` says in which case."""

    title: str
    kind: str
    when: str
    sop_class_uid: str
    sop_class_name: str
    templates: tuple[str, ...]
    attributes: tuple[StatedAttribute, ...]


def contents(examples: Sequence[tuple[Dataset, Dataset]]) -> tuple[StatedAttribute, ...]:
    """The attributes of one kind of object; `examples` are pairs of a source header and the object made of it.

    At least two pairs that differ in every value that depends on the source.
    """
    return tuple(_rows([made for _, made in examples], [source for source, _ in examples], depth=0))


def _rows(made: Sequence[Dataset], sources: Sequence[Dataset], *, depth: int) -> list[StatedAttribute]:
    rows = []
    for tag in sorted({element.tag for one in made for element in one}):
        elements = [one[tag] for one in made if tag in one]
        first = elements[0]
        source, value = _origin(tag, made, sources)
        rows.append(
            StatedAttribute(
                depth=depth,
                tag=f"({tag.group:04X},{tag.element:04X})",
                name=dictionary_description(tag) if dictionary_has_tag(tag) else "Private",
                vr=first.VR,
                presence=ALWAYS if len(elements) == len(made) else SOMETIMES,
                source=source,
                value=value,
            )
        )
        if first.VR == "SQ" and depth < DEEPEST and source != COPIED:
            items = [_first_item(element) for element in elements]
            held = [item for item in items if item is not None]
            if held:
                rows += _rows(held, [Dataset()] * len(held), depth=depth + 1)
    return rows


def _origin(tag: BaseTag, made: Sequence[Dataset], sources: Sequence[Dataset]) -> tuple[str, str]:
    pairs: list[tuple[DataElement, DataElement | None]] = [
        (one[tag], source.get(tag)) for one, source in zip(made, sources, strict=True) if tag in one
    ]
    if tag in BULK:
        return GENERATED, ""
    if pairs[0][0].VR == "SQ":
        copied = all(theirs is not None and theirs.value == ours.value for ours, theirs in pairs)
        return (COPIED, "") if copied and pairs[0][0].value else (ITEMS, "")
    shown = [_shown(ours) for ours, _ in pairs]
    if not any(shown):
        return EMPTY, ""
    follows = [
        theirs is not None and _shown(theirs).rstrip("^") == _shown(ours).rstrip("^")
        for ours, theirs in pairs
        if _shown(ours)
    ]
    if all(follows) and (len(set(shown)) > 1 or len(pairs) == 1):
        return COPIED, ""
    text = shown[0] if len(shown[0]) <= LONGEST else f"{shown[0][: LONGEST - 3]}..."
    if len(set(shown)) == 1 and len(pairs) > 1:
        return FIXED, text
    return GENERATED, f"e.g. {text}" if text and pairs[0][0].VR in TOLD else ""


def _shown(element: DataElement) -> str:
    if element.value is None or element.value == "":
        return ""
    values = element.value if element.VM > 1 else [element.value]
    return "\\".join(_one(element.VR, value) for value in values)


def _one(vr: str, value: object) -> str:
    if vr == "UI":
        uid = UID(str(value))
        return f"{uid.name} ({uid})" if uid.name != uid else str(uid)
    return value.hex(" ") if isinstance(value, bytes) else str(value)


def _first_item(element: DataElement) -> Dataset | None:
    return element.value[0] if element.value else None
