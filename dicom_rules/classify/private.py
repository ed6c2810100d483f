"""b-value and direction from where the vendors keep them beside, or in place of, the standard attributes.

Siemens: (0019,100C) and (0019,100D), and the CSA image header (0029,1010) of older software. GE: the first of four
numbers in (0043,1039). Philips: (2001,1003) and (2001,1004). UIH: (0065,1009). Canon and Toshiba: the text of Image
Comments, "b=1000(0.445,0.000,0.895)". The tags stand in vendors.toml.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_rules.classify.csa import csa_value
from dicom_rules.classify.vendors import BValueRow, vendor_tables
from dicom_rules.reading import number, text, value

PHILIPS_DIRECTION = Tag(0x20011004)
SIEMENS_DIRECTION = Tag(0x0019100D)
SIEMENS_CSA_IMAGE = Tag(0x00291010)
HIGHEST_B = 100_000.0

_CANON = re.compile(r"\bb\s?=\s?(?P<b>\d{1,5}(\.\d+)?)\s*(\((?P<direction>\s*-?\d[^)]*)\))?", re.IGNORECASE)


def b_value_of(places: Sequence[Dataset]) -> float | None:
    """The b-value (s/mm2) that a vendor's own attribute states, or None."""
    for row in vendor_tables().b_values:
        for place in places:
            found = _from_row(place, row)
            if found is not None:
                return found
    for place in places:
        found = _number_of(_csa(place, "B_value"))
        if found is not None and 0 <= found < HIGHEST_B:
            return found
    canon = _canon(places)
    return None if canon is None else float(canon.group("b"))


def directionality_of(places: Sequence[Dataset]) -> str:
    """DIRECTIONAL, BMATRIX, ISOTROPIC or NONE by a vendor's own attribute; empty where none says it."""
    for place in places:
        philips = text(place, PHILIPS_DIRECTION).upper()[:1]
        if philips:
            # I isotropic; P, M, S one axis and O oblique are also written on b=0, where they mean nothing.
            return "ISOTROPIC" if philips == "I" else ""
        siemens = text(place, SIEMENS_DIRECTION).upper() or _csa(place, "DiffusionDirectionality").upper()
        if siemens in ("DIRECTIONAL", "ISOTROPIC", "BMATRIX", "NONE"):
            return siemens
    canon = _canon(places)
    return "DIRECTIONAL" if canon is not None and canon.group("direction") else ""


def _from_row(place: Dataset, row: BValueRow) -> float | None:
    tag = Tag(row.tag)
    found = number(place, tag)
    creator = text(place, Tag(tag.group, tag.element >> 8))
    if found is None or (creator and not creator.upper().startswith(row.creator.upper())):
        return None
    b_value = found % row.modulo if row.modulo and found >= row.modulo else found
    # GE fills the attribute with 0 in every sequence; only a diffusion sequence has a b-value of 0.
    return b_value if b_value > 0 or row.vendor != "ge" else None


def _canon(places: Sequence[Dataset]) -> re.Match[str] | None:
    maker = next((found for place in places if (found := text(place, "Manufacturer"))), "").upper()
    if "CANON" not in maker and "TOSHIBA" not in maker:
        return None
    comments = next((found for place in places if (found := text(place, "ImageComments"))), "")
    return _CANON.search(comments)


def _csa(place: Dataset, name: str) -> str:
    content = value(place, SIEMENS_CSA_IMAGE)
    return csa_value(content, name) if isinstance(content, bytes) else ""


def _number_of(words: str) -> float | None:
    try:
        found = float(words)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
