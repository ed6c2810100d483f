"""The loop guard: no object that we or anybody else synthesised may ever be a source."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

MANUFACTURER = "medk2n"
_DESCRIPTION = re.compile(r"^SYNTHETIC \S+ \(AI\)")
_SYNTHESIZING_EQUIPMENT = ("109100", "DCM")  # PS3.16 CID 7005


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def is_ours_or_synthetic(header: Dataset) -> str | None:
    """A sentence saying why this object may never be a source, or None when nothing marks it synthetic.

    Several marks are read because a PACS may drop or rewrite one: Synthetic Data (0008,001C), Contributing
    Equipment with the purpose Synthesizing Equipment, ImageType, our manufacturer and our series description.
    """
    if _text(header, "SyntheticData").upper() == "YES":
        return "Synthetic Data (0008,001C) is YES: the object was made artificially"
    for item in header.get("ContributingEquipmentSequence") or ():
        for code in item.get("PurposeOfReferenceCodeSequence") or ():
            if (_text(code, "CodeValue"), _text(code, "CodingSchemeDesignator")) == _SYNTHESIZING_EQUIPMENT:
                return "Contributing Equipment names a Synthesizing Equipment (109100, DCM)"
    image_type = header.get("ImageType") or ()
    values = [image_type] if isinstance(image_type, str) else list(image_type)
    if any(str(value).strip().upper() == "SYNTHETIC" for value in values):
        return "Image Type holds the value SYNTHETIC"
    if _text(header, "Manufacturer").lower() == MANUFACTURER:
        return "the manufacturer of the object is this software"
    if _DESCRIPTION.match(_text(header, "SeriesDescription")):
        return "the series description is one that this software writes"
    return None
