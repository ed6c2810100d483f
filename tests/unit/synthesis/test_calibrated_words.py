"""The word calibrated appears where the interval is, and nowhere else: in the map, the sheet's figures, the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydicom import dcmread

import model
from medk2n_node.store import Store
from medk2n_node.synthesis import Job
from medk2n_node.synthesis.job import Forms
from tests.unit.synthesis.fakes import fake_synthesize
from tests.unit.synthesis.test_run import job, make  # noqa: F401 - a fixture


@pytest.mark.parametrize(
    ("calibrated", "patients", "word"), [(True, 31, "calibrated"), (False, 13, "uncalibrated")]
)
def test_the_map_and_the_interval_of_the_report_say_what_the_result_says(
    job: Job,  # noqa: F811
    store: Store,
    calibrated: bool,
    patients: int,
    word: str,
) -> None:
    numbered = replace(job.targets[0], numbers={"uncertainty": 9004})

    def judged(*arguments: Any, **options: Any) -> model.Outputs:
        outputs = fake_synthesize(*arguments, **options)
        result = replace(outputs.targets["FLAIR"], calibrated=calibrated, calibration_patients=patients)
        return replace(outputs, targets={"FLAIR": result})

    product = make(replace(job, forms=Forms(uncertainty=True), targets=(numbered,)), store, judged)
    interval = product.targets["FLAIR"]["interval"]
    assert (interval["calibrated"], interval["patients"]) == (calibrated, patients)
    maps = [dcmread(store.root / one.path) for one in product.objects if one.kind == "uncertainty"]
    assert [one.SeriesDescription for one in maps] == [f"SYNTHETIC FLAIR (AI) uncertainty, {word}"]
