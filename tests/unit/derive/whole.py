"""One result with everything that can leave the node for it, small enough to be looked at voxel by voxel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_rules.derive import (
    Account,
    Decision,
    Figures,
    FoundSeries,
    Superseded,
    Uncertainty,
    encode_picture,
    encode_presentation,
    encode_rejection,
    encode_report,
    encode_uncertainty,
    enhanced,
)
from tests.unit.derive.cases import MADE_AT, Case, make_case

HALF_WIDTH = np.random.default_rng(3).random((6, 20, 16)).astype(np.float32) * 90
PAGE = np.random.default_rng(4).integers(0, 255, (40, 60, 3)).astype(np.uint8)


def account(case: Case, made: list[Dataset], **changes: Any) -> Account:
    """T1 and T2 were found, FLAIR was made, T1C refused; an older FLAIR is superseded."""
    facts: dict[str, Any] = {
        "study_uid": str(made[0].StudyInstanceUID),
        "revision": 2,
        "outcome": "Synthetic (AI) FLAIR made",
        "words": "6 objects of 1 series",
        "release": "",
        "series": tuple(
            FoundSeries(
                header=series[0],
                instances=len(series),
                role="source",
                contrast=contrast,
                reasons=(f"Counts as {contrast}.", "TR and TE say so"),
            )
            for contrast, series in case.sources.items()
        ),
        "decisions": (
            Decision(
                contrast="FLAIR",
                outcome="made",
                sources=("T1", "T2"),
                key="T2",
                reasons=("FLAIR is missing.",),
                figures=Figures(
                    expected_error=0.0512,
                    expected_dissimilarity=0.11,
                    half_width=0.2,
                    contributions={"T1": 0.25, "T2": 0.75},
                ),
                results=(made[0],),
            ),
            Decision(
                contrast="T1C", outcome="refuse", sources=(), key=None, reasons=("A high risk, not enabled.",)
            ),
        ),
        "superseded": (
            Superseded(
                contrast="FLAIR",
                revision=1,
                by="real",
                by_series_uid="1.2.3.4",
                first=made[1],
                psnr_db=22.123,
                error=0.0456,
                words="They lie on one grid.",
            ),
        ),
        "notes": ("T2 lies 2 mm off.",),
    }
    return Account(**{**facts, **changes})


def whole(header: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, list[Dataset]]:
    """Every object by kind; `header` goes onto the sources, `changes` onto the account of the report."""
    case = make_case({"ApplicableSafetyStandardAgency": "IEC", **(header or {})})
    made = case.encode()
    first = case.sources["T2"][0]
    common: dict[str, Any] = {"first": first, "maker": case.maker, "made_at": MADE_AT}
    map_ = Uncertainty(target="FLAIR", half_width=HALF_WIDTH, calibrated=False)
    one = enhanced(made, "FLAIR", reference_headers=case.sources["T2"], source_series=case.sources)

    def uncertainty(series: list[Dataset]) -> Dataset:
        return encode_uncertainty(
            map_, series=series, source_series=case.sources, series_number=9011, **common
        )

    return {
        "series": made,
        "enhanced": [one],
        "uncertainty": [uncertainty(made)],
        "uncertainty of enhanced": [uncertainty([one])],
        "overlay": [encode_presentation("FLAIR", series=made, series_number=9012, **common)],
        "overlay of enhanced": [encode_presentation("FLAIR", series=[one], series_number=9012, **common)],
        "summary": [encode_picture("FLAIR", PAGE, series=made, series_number=9013, **common)],
        "report": [
            encode_report(
                account(case, made, **changes),
                patient=first,
                maker=case.maker,
                series_number=9014,
                made_at=MADE_AT,
                predecessors=[made[2]],
            )
        ],
        "rejection": [
            encode_rejection(
                "FLAIR", rejected=made, reason="A real FLAIR arrived.", series_number=9015, **common
            )
        ],
    }
