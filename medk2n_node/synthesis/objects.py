"""Every object that leaves the node for one result: the series in its form or forms, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_rules.derive import (
    Maker,
    SyntheticVolume,
    Uncertainty,
    can_be_enhanced,
    encode,
    encode_picture,
    encode_presentation,
    encode_uncertainty,
    enhanced,
)
from dicom_rules.geometry import Volume
from medk2n_node.synthesis.job import Job, Target
from medk2n_node.synthesis.sheet import draw_sheet


def result_objects(
    result: SyntheticVolume,
    half_width: npt.NDArray[np.float32],
    *,
    target: Target,
    volumes: Mapping[str, Volume],
    headers: Mapping[str, Sequence[Dataset]],
    summary: Mapping[str, Any],
    maker: Maker,
    job: Job,
) -> dict[str, list[Dataset]]:
    """The objects of one result by kind: series, enhanced, uncertainty, overlay, summary.

    Args:
        result: the synthetic volume on the grid of its reference.
        half_width: (S, R, C) half-width of the interval in stored units.
        target: what was asked for; its numbers name the series.
        volumes, headers: of every source, by contrast.
        summary: the report on this target, for the summary sheet.
    """
    forms = job.forms
    reference = volumes[result.reference]
    reference_headers = headers[result.reference]
    sources = {contrast: headers[contrast] for contrast in result.sources}
    classic = encode(
        result,
        reference=reference,
        reference_headers=reference_headers,
        source_series=sources,
        maker=maker,
        revision=job.revision,
        series_number=target.series_number,
        made_at=job.made_at,
    )
    made: dict[str, list[Dataset]] = {}
    whole = None
    if forms.enhanced and can_be_enhanced(reference_headers):
        whole = enhanced(classic, result.target, reference_headers=reference_headers, source_series=sources)
        whole.SeriesNumber = target.numbers["enhanced"]
    if forms.classic or whole is None:
        made["series"] = classic
    if whole is not None:
        made["enhanced"] = [whole]
    # What refers to the series refers to its classic form where there is one: every receiver may hold that.
    series = made.get("series") or made["enhanced"]
    first = next(
        one for one in reference_headers if str(one.SOPInstanceUID) == reference.slices[0].sop_instance_uid
    )
    common: dict[str, Any] = {"series": series, "first": first, "maker": maker, "made_at": job.made_at}
    if forms.uncertainty:
        made["uncertainty"] = [
            encode_uncertainty(
                Uncertainty(
                    target=result.target,
                    half_width=half_width,
                    calibrated=bool(summary["interval"]["calibrated"]),
                ),
                source_series=sources,
                series_number=target.numbers["uncertainty"],
                **common,
            )
        ]
    if forms.overlay:
        made["overlay"] = [
            encode_presentation(result.target, series_number=target.numbers["overlay"], **common)
        ]
    if forms.summary:
        page = draw_sheet(
            result, volumes=volumes, half_width=half_width, summary=summary, maker=maker, patient=first
        )
        made["summary"] = [
            encode_picture(result.target, page, series_number=target.numbers["summary"], **common)
        ]
    return made
