"""Lesions that a site has drawn as DICOM segmentations (PS3.3 A.51): which segments mark one, and where they lie."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from highdicom.seg import segread
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from dicom_rules.reading import text
from model import Image, ImagingError
from model.imaging import resample
from training.archive.inventory import Row
from training.archive.pseudonyms import Pseudonyms
from training.studies import UNREADABLE

#: "Morphologically Abnormal Structure" in SNOMED CT and in the older SNOMED codes (PS3.16 CID 7150).
ABNORMAL = frozenset({"49755003", "M-01000"})
_LESION = re.compile(
    r"lesion|tumou?r|neoplas|metasta|gliom|o?edema|necro|enhanc|infarct|isch|plaque|hyperintens|h(?:a)?emorrh|penumbra",
    re.IGNORECASE,
)


def is_segmentation(header: Dataset) -> bool:
    """Whether the object is a segmentation."""
    return text(header, "SOPClassUID") == SegmentationStorage


def lesion_segments(header: Dataset) -> tuple[int, ...]:
    """Numbers of the segments that mark a lesion, by the coded category or else by the words for type and label."""
    return tuple(
        int(one.SegmentNumber) for one in header.get("SegmentSequence") or () if _marks_a_lesion(one)
    )


def lesion_rows(rows: Sequence[Row], headers: Mapping[str, Dataset]) -> list[Row]:
    """A study's rows, those of its segmentations turned into what they mark; of several with a lesion the last drawn.

    `headers`: of each segmentation by the series of its row.
    """
    marked = {name: lesion_segments(header) for name, header in headers.items()}
    drawn = [name for name in sorted(headers) if marked[name]]
    last = max(drawn, key=lambda name: _drawn_at(headers[name])) if drawn else None
    out = []
    for row in rows:
        if row.series not in headers:
            out.append(row)
            continue
        segments = marked[row.series]
        if not segments:
            sentence, because = "None of its segments marks a lesion.", "no_lesion"
        elif row.series != last:
            sentence, because = "Another segmentation of the study was drawn later.", "older"
        else:
            numbers = ", ".join(map(str, segments))
            sentence, because = f"Marks a lesion: segment {numbers}.", None
        out.append(
            replace(
                row, part="lesion" if segments else "mask", contrast=None, usable=because is None, chosen=False,
                because=because, reasons=(sentence,),
            )
        )  # fmt: skip
    return out


def read_lesion(
    row: Row, images: Mapping[str, Image], shows: Mapping[str, str], pseudonyms: Pseudonyms
) -> Image:
    """The marked lesion on the grid of the image that it was drawn on.

    Args:
        images: the study's images by contrast; shows: contrast by series (`Row.series`).

    Raises:
        ImagingError: it cannot be read, or was drawn on a series that is not used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break their VR
            header = dcmread(row.files[0], stop_before_pixels=True)
            lesion = _volume(row.files[0], lesion_segments(header))
    except (*UNREADABLE, RuntimeError) as error:
        reason = f"the segmentation cannot be read ({type(error).__name__})"
        raise _unusable(row, "unreadable", reason) from error
    for reference in header.get("ReferencedSeriesSequence") or ():
        contrast = shows.get(pseudonyms.of("series", text(reference, "SeriesInstanceUID")))
        if contrast is not None and contrast in images:
            return resample(lesion, images[contrast], sitk.Transform(3, sitk.sitkIdentity), order=0)
    raise _unusable(row, "drawn_elsewhere", "the lesion was drawn on a series that is not used")


def _marks_a_lesion(segment: Dataset) -> bool:
    codes = segment.get("SegmentedPropertyCategoryCodeSequence") or ()
    if any(text(code, "CodeValue") in ABNORMAL for code in codes):
        return True
    types = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    words = [text(segment, "SegmentLabel"), *(text(code, "CodeMeaning") for code in types)]
    return any(_LESION.search(one) for one in words)


def _drawn_at(header: Dataset) -> tuple[str, str, str]:
    return text(header, "ContentDate"), text(header, "ContentTime"), text(header, "SOPInstanceUID")


def _volume(path: Path, segments: Sequence[int]) -> Image:
    """1 where one of the segments is, at least half where the segmentation is fractional."""
    volume = segread(path).get_volume(segment_numbers=list(segments))
    marked = np.any(np.asarray(volume.array, np.float32) >= 0.5, axis=-1)
    # highdicom's affine takes (slice, row, column), ours (column, row, slice); both give LPS.
    affine = np.asarray(volume.affine, np.float64)[:, [2, 1, 0, 3]]
    return Image(array=np.asarray(marked, np.float32), affine=affine)


def _unusable(row: Row, code: str, reason: str) -> ImagingError:
    return ImagingError(
        code=code,
        subject=f"lesion of study {row.study[:8]}",
        reason=reason,
        cure="Draw it on a scanned series.",
    )
