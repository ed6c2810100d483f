"""The codes of PS3.16 that a result bears."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")  # CID 7005
SYNTHESIZING_EQUIPMENT = Code("109100", "DCM", "Synthesizing Equipment")  # CID 7005
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")  # CID 7202
SOURCE_SERIES = Code("121323", "DCM", "Source series for image processing operation")  # CID 7210
SAME_ANATOMY = Code("122401", "DCM", "Same Anatomy")  # CID 7210
SPATIAL_RESAMPLING = Code("113085", "DCM", "Spatial resampling")  # CID 7203


def code_item(code: Code) -> Dataset:
    """A code sequence item (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
