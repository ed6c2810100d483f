"""One object of every kind that the node makes, from sources whose headers a test chooses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicom_rules.derive import (
    Account,
    Decision,
    Figures,
    FoundSeries,
    Uncertainty,
    encode_picture,
    encode_presentation,
    encode_rejection,
    encode_report,
    encode_uncertainty,
    enhanced,
    to_part10,
)
from tests.enhanced import as_enhanced
from tests.unit.derive.cases import MADE_AT, MAKER, case_of, make_case, received

KINDS = ("series", "enhanced", "uncertainty", "report", "overlay", "summary", "rejection")


def every_object(
    header: Mapping[str, Any], *edits: tuple[bytes, bytes], kinds: Sequence[str] = KINDS
) -> dict[str, Dataset]:
    """Each kind, read back from its file. `header` goes onto every source; `edits` replace bytes of its files."""
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the header may be one that no scanner should write
        sources = {
            contrast: [received(one, *edits) for one in series]
            for contrast, series in make_case(header).sources.items()
        }
    makers = _makers_of(sources)
    return {kind: dcmread(BytesIO(to_part10(makers[kind]()))) for kind in kinds}


def _makers_of(sources: Mapping[str, Sequence[Dataset]]) -> dict[str, Callable[[], Dataset]]:
    case = case_of(sources, reference="T2")
    series = case.encode()
    first = sources["T2"][0]
    common: dict[str, Any] = {"maker": MAKER, "series_number": 9010, "made_at": MADE_AT}
    shown = {**common, "series": series, "first": first}
    account = Account(
        study_uid=str(first.StudyInstanceUID), revision=1, outcome="PLANNED", words="made", release="",
        series=tuple(
            FoundSeries(header=one[0], instances=len(one), role="source", contrast=contrast, reasons=("Seen.",))
            for contrast, one in sources.items()
        ),
        decisions=(
            Decision(contrast="FLAIR", outcome="made", sources=("T1", "T2"), key="T2", reasons=("Missing.",),
                     figures=Figures(expected_error=0.1), results=(series[0],)),
        ),
    )  # fmt: skip
    half_width = np.ones((6, 20, 16), np.float32)
    return {
        "series": lambda: series[0],
        "enhanced": lambda: _enhanced(sources["T2"]),
        "uncertainty": lambda: encode_uncertainty(
            Uncertainty(target="FLAIR", half_width=half_width, calibrated=False),
            source_series=sources,
            **shown,
        ),
        "report": lambda: encode_report(account, patient=first, **common),
        "overlay": lambda: encode_presentation("FLAIR", **shown),
        "summary": lambda: encode_picture("FLAIR", np.zeros((16, 16, 3), np.uint8), **shown),
        "rejection": lambda: encode_rejection(
            "FLAIR", rejected=series, reason="Superseded.", first=first, **common
        ),
    }


def _enhanced(series: Sequence[Dataset]) -> Dataset:
    whole = as_enhanced(series)
    whole.ApplicableSafetyStandardAgency = "IEC"
    return enhanced(
        case_of({"T2": [whole]}, reference="T2").encode(),
        "FLAIR",
        reference_headers=[whole],
        source_series={"T2": [whole]},
    )
