"""The vendor tables of vendors.toml, read once and checked."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class SequenceRow:
    """What a vendor's name for a sequence says about it."""

    pattern: re.Pattern[str]
    says: str
    family: str = ""
    prepared: bool = False
    kind: str = ""
    diffusion: str = ""
    nulls: str = ""


@dataclass(frozen=True, kw_only=True)
class BValueRow:
    """Where one vendor keeps the b-value."""

    vendor: str
    tag: int
    creator: str
    modulo: int = 0


@dataclass(frozen=True, kw_only=True)
class VendorTables:
    """All rows; `image_type` maps an upper-case word to the roles it stands for."""

    sequences: tuple[SequenceRow, ...]
    image_type: dict[str, frozenset[str]]
    b_values: tuple[BValueRow, ...]
    sequence_name_tags: tuple[int, ...]

    def sequence(self, name: str) -> SequenceRow | None:
        """The first row whose pattern matches the start of the name, "*" and "_" in front dropped."""
        bare = name.strip().lstrip("*_").lower()
        if not bare:
            return None
        return next((row for row in self.sequences if row.pattern.match(bare)), None)

    def roles(self, word: str) -> frozenset[str]:
        """What a word of ImageType stands for; empty when it is not in the table."""
        return self.image_type.get(word.strip().upper(), frozenset())


@cache
def vendor_tables() -> VendorTables:
    """The tables that ship with the package."""
    content = tomllib.loads(files("dicom_rules.classify").joinpath("vendors.toml").read_text("utf-8"))
    roles: dict[str, frozenset[str]] = {}
    for role, words in content["image_type"].items():
        for word in words:
            roles[word] = roles.get(word, frozenset()) | {role}
    return VendorTables(
        sequences=tuple(
            SequenceRow(**{**row, "pattern": re.compile(row["pattern"])}) for row in content["sequence"]
        ),
        image_type=roles,
        b_values=tuple(BValueRow(**row) for row in content["b_value"]),
        sequence_name_tags=tuple(row["tag"] for row in content["sequence_name"]),
    )
