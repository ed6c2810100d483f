"""What must hold before a result may be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset

from dicom_rules.derive.header import missing, required
from dicom_rules.derive.types import Maker, SyntheticVolume
from dicom_rules.errors import EncodeError
from dicom_rules.geometry import SliceRef, Volume
from dicom_rules.reading import text

QUALIFICATIONS = ("PRODUCT", "RESEARCH", "SERVICE")  # PS3.3 C.8.13.2.1.1


def check(
    result: SyntheticVolume,
    reference: Volume,
    source_series: Mapping[str, Sequence[Dataset]],
    maker: Maker,
) -> None:
    """EncodeError when the result, its reference, its sources and its maker do not fit together."""
    subject = f"the synthetic {result.target}"

    def refusal(code: str, reason: str, cure: str) -> EncodeError:
        return EncodeError(code=code, subject=subject, reason=reason, cure=cure)

    shape, grid = result.array.shape, reference.array.shape
    if result.array.dtype != np.uint16 or shape != grid:
        raise refusal(
            "shape",
            f"its array is {result.array.dtype} {shape}, the reference's grid {grid}",
            "Return unsigned 16-bit values on the grid of the reference",
        )
    if len(reference.slices) != grid[0]:
        raise refusal(
            "shape",
            f"the reference has {grid[0]} slices but {len(reference.slices)} slice references",
            "Pass the reference volume as it was read",
        )
    absent = [contrast for contrast in result.sources if not source_series.get(contrast)]
    if absent or not result.sources:
        raise refusal(
            "missing_source",
            f"no header of its source {', '.join(absent) or 'series'} was given",
            "Pass the headers of every source that entered the network",
        )
    for role, contrast in (("key", result.key), ("reference", result.reference)):
        if contrast not in result.sources:
            raise refusal(
                "missing_source",
                f"its {role} {contrast} is not among its sources {', '.join(result.sources)}",
                "Name the key and the reference among the sources",
            )
    if result.target in result.sources:
        raise refusal("target_is_source", "it is one of its sources", "Do not synthesise what is present")
    if not reference.frame_of_reference_uid:
        raise missing("FrameOfReferenceUID", f"series {reference.series_uid}")
    if maker.content_qualification not in QUALIFICATIONS:
        raise refusal(
            "content_qualification",
            f"content qualification {maker.content_qualification!r} is none of {', '.join(QUALIFICATIONS)}",
            "Use RESEARCH until the site holds an approval",
        )


def same_study(study: str, headers: Sequence[Dataset]) -> None:
    """EncodeError naming the first object of another study."""
    for header in headers:
        if required(header, "StudyInstanceUID") != study:
            raise EncodeError(
                code="other_study",
                subject=f"instance {text(header, 'SOPInstanceUID')}",
                reason=f"it belongs to another study than the reference ({study})",
                cure="Take the sources of a result from one study",
            )


def header_of(ref: SliceRef, headers: Sequence[Dataset]) -> Dataset:
    """The header that `ref` was read from; EncodeError when it is not among `headers`."""
    for header in headers:
        if text(header, "SOPInstanceUID") == ref.sop_instance_uid:
            return header
    raise EncodeError(
        code="missing_header",
        subject=f"instance {ref.sop_instance_uid}",
        reason="the reference volume holds this slice but its header was not given",
        cure="Pass the headers of the whole reference series",
    )
