"""DICOM segmentations as a reader draws them on a series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import dcmread

ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMY = CodedConcept("123037004", "SCT", "Anatomical Structure")
NEOPLASM = CodedConcept("108369006", "SCT", "Neoplasm")
BRAIN = CodedConcept("12738006", "SCT", "Brain")


def draw(
    series: Path,
    out: Path,
    masks: Sequence[npt.NDArray[np.bool_]],
    kinds: Sequence[tuple[CodedConcept, CodedConcept, str]] = ((ABNORMAL, NEOPLASM, "a"),),
    drawn: str = "20260101",
) -> None:
    """A segmentation of some segments (category, type, label) on a series of the archive."""
    images = [dcmread(path) for path in sorted(series.glob("*.dcm"))]
    images.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    segments = [
        SegmentDescription(
            segment_number=number, segment_label=label, segmented_property_category=category,
            segmented_property_type=kind, algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, (category, kind, label) in enumerate(kinds, start=1)
    ]  # fmt: skip
    made = Segmentation(
        source_images=images, pixel_array=np.stack(masks, axis=-1).astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY, segment_descriptions=segments,
        series_instance_uid=highdicom.UID(), series_number=90, sop_instance_uid=highdicom.UID(),
        instance_number=1, manufacturer="m", manufacturer_model_name="m", software_versions="1",
        device_serial_number="1",
    )  # fmt: skip
    made.ContentDate = drawn
    out.mkdir(parents=True, exist_ok=True)
    made.save_as(out / f"{made.SOPInstanceUID}.dcm")
