"""The computed head through the node's own brain search and registration, from DICOM objects to a case."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medk2n_node.demo.study import write_study
from tests.dicom_archive import identity, phantom_series
from training.archive import Place, open_archive, prepare_archive, scan

SHIFT_MM = (7.0, -5.0, 4.0)


@pytest.mark.slow
def test_a_series_of_a_head_that_moved_is_brought_back_onto_the_other(tmp_path: Path) -> None:
    t1, t2 = phantom_series("T1", 1), phantom_series("T2", 1)
    elsewhere = t2.affine.copy()
    elsewhere[:3, 3] += SHIFT_MM
    write_study(tmp_path / "in", t1, replace(t2, affine=elsewhere), key="moved", patient=identity(1))
    archive = prepare_archive(scan([Place(folder=tmp_path / "in")], salt=bytes(32)), tmp_path / "out")
    assert archive.manifest["excluded"] == []
    (case,) = open_archive(tmp_path / "out").cases("training")
    facts = json.loads((tmp_path / "out" / "cases" / case.name / "case.json").read_text())
    assert facts["reference"] == "T1" and facts["steps"]["T2"].startswith("Registered rigidly")
    # The grid of the T1 is kept, so both truths are the arrays that the scanner stored.
    for contrast, truth, tolerance in (("T1", t1.array, 1e-3), ("T2", t2.array, 0.03)):
        image = np.asarray(case.contrasts[contrast], np.float32)[case.brain]
        scanned = truth[case.brain] / np.percentile(truth[case.brain], 99.5)
        assert np.abs(image - scanned).mean() < tolerance
    assert case.stripped and 1500 < case.brain.sum() * np.prod(case.spacing) / 1000 < 2100
